"""The launchers: what they would do, word for word; and that local processes share work and fall
together.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AFTER = ["--", "--config=configs/quickstart.py", "--workdir=runs/a b"]
SHARING = """
import sys
from pathlib import Path
from fairjax.utils.distributed import barrier, initialize_from_environment, is_first, process
assert initialize_from_environment()
folder = Path(sys.argv[1])
index, count = process()
for item in range(index, 7, count):
    (folder / f"{item}.txt").write_text(str(process()))
barrier("written")
if is_first():
    (folder / "all").write_text(" ".join(sorted(path.stem for path in folder.glob("*.txt"))))
    print("assembled\\rdone")
barrier("assembled")
"""
FAILING = """
import sys, time
from fairjax.utils.distributed import failing_at_once, initialize_from_environment, is_first
initialize_from_environment()
with failing_at_once():
    if not is_first():
        {how}
    time.sleep(300)
"""


def start(module, *arguments, path="", **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FAIRJAX_", "JAX_NUM"))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def module(tmp_path):
    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return [f"--module={name}"]

    return write


def test_local_processes_share_the_work_and_wait_for_each_other(module, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    done = start(
        "launch.local",
        "--processes=2",
        *module("sharing", SHARING),
        "--",
        str(folder),
        path=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "all").read_text() == "0 1 2 3 4 5 6"
    assert (folder / "5.txt").read_text() == "(1, 2)"
    assert (folder / "6.txt").read_text() == "(0, 2)"
    assert {"[0] assembled", "[0] done"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("sys.exit(7)", 7, "process 1 failed (7)"),
        ("raise ValueError('broken')", 1, "process 1 failed (1)"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", 137, "process 1 failed (-9)"),
    ],
)
def test_when_one_local_process_fails_the_others_are_stopped_and_so_it_exits(
    module, tmp_path, how, status, said
):
    failing = module("failing", FAILING.format(how=how))
    done = start("launch.local", "--processes=2", *failing, "--", "x", path=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stderr
    assert ("[1] ValueError: broken" in done.stdout) == ("ValueError" in how)


def test_a_local_dry_run_prints_each_process():
    done = start(
        "launch.local", "--processes=2", "--port=5000", "--dry_run", *AFTER, JAX_NUM_CPU_DEVICES="3"
    )
    assert done.stdout.splitlines() == [
        f"env FAIRJAX_COORDINATOR=127.0.0.1:5000 FAIRJAX_NUM_PROCESSES=2 FAIRJAX_PROCESS_ID={index} "
        f"{shlex.quote(sys.executable)} -m fairjax.launch --config=configs/quickstart.py '--workdir=runs/a b'"
        for index in range(2)
    ]


def test_a_slurm_dry_run_prints_the_script():
    done = start(
        "launch.slurm", "--nodes=4", "--partition=gpu", "--gpus_per_node=8", "--cpus_per_task=16", "--mem=64G", "--option=qos=long",
        "--setup=source venv/bin/activate", "--dry_run", *AFTER,
    )  # fmt: skip
    assert (
        done.stdout
        == f"""#!/bin/bash
#SBATCH --job-name=fairjax
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --output=fairjax-%j.out
#SBATCH --partition=gpu
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --qos=long
set -euo pipefail
cd {shlex.quote(str(ROOT))}
source venv/bin/activate
export FAIRJAX_DISTRIBUTED=auto
srun --kill-on-bad-exit=1 --label --cpus-per-task=16 python -m fairjax.launch --config=configs/quickstart.py '--workdir=runs/a b'
"""
    )


def test_a_slurm_script_is_given_to_sbatch(tmp_path):
    """A stand-in for sbatch keeps what it is given."""
    stand_in = tmp_path / "sbatch"
    stand_in.write_text(f"#!/bin/sh\ncat > {tmp_path}/script\n")
    stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    submitted = start("launch.slurm", "--nodes=1", *AFTER, PATH=path)
    assert submitted.returncode == 0, submitted.stderr
    assert (tmp_path / "script").read_text() == start(
        "launch.slurm", "--nodes=1", "--dry_run", *AFTER
    ).stdout
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    refused = start("launch.slurm", "--nodes=1", *AFTER, PATH=path)
    assert refused.returncode == 2
    assert "sbatch refused the job" in refused.stderr


def test_a_tpu_dry_run_prints_the_command():
    done = start("launch.tpu", "--name=pod", "--zone=us-central2-b", "--dry_run", *AFTER)
    words = shlex.split(done.stdout)
    assert words[:-1] == [
        "gcloud",
        "compute",
        "tpus",
        "tpu-vm",
        "ssh",
        "pod",
        "--zone=us-central2-b",
        "--worker=all",
    ]
    assert words[-1] == (
        "--command=cd fairjax && FAIRJAX_DISTRIBUTED=auto python3 -m fairjax.launch "
        "--config=configs/quickstart.py '--workdir=runs/a b'"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch.local", "--processes=2"], "after two hyphens"),
        (["launch.local", "--config=x"], "unknown flag --config"),
        (["launch.tpu", *AFTER], "say which TPU"),
    ],
)
def test_what_is_missing_is_said_in_one_line(arguments, message):
    done = start(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
