"""The console script `fairjax`: its commands, their help, what mistakes and interruptions give."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import ROOT, SMALL

from fairjax.cli import COMMANDS
from fairjax.launch import packaged_configs

EMPTY = """
import sys
from fairjax.cli import main
sys.argv = {argv!r}
try:
    main()
finally:
    slow = {{"jax", "numpy", "pandas", "torch", "flax"}} & set(sys.modules)
    assert not slow, slow
"""


def fairjax(*arguments, cwd=ROOT, **options):
    return subprocess.run(
        [sys.executable, "-m", "fairjax", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.mark.parametrize("command", [*COMMANDS, "help", "version"])
def test_help_lists_flags_and_imports_nothing_slow(command):
    argv = ["fairjax", command, *(["--help"] if command in COMMANDS else [])]
    code = EMPTY.format(argv=argv)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "fairjax" in done.stdout
    if command not in ("models", "methods", "help", "version"):
        assert "\n  --" in done.stdout


def test_help_says_the_default_of_a_flag():
    assert (
        "--n_boot: Bootstrap replicates; 0: no intervals. (default: 2000)"
        in fairjax("audit", "--help").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lunch"], "unknown command 'lunch'; did you mean 'launch'?"),
        (["launch", "--workdri=x"], "unknown flag --workdri; did you mean 'workdir'?"),
        (["launch", "--config=quikstart"], "did you mean 'quickstart'?"),
        (["launch", "--config=nothing/at_all.py"], "there are: linear_probe, quickstart,"),
        (["launch"], "give an experiment: --config=NAME, one of linear_probe, quickstart"),
        (["convert", "--model=clip", "--checkpoint=x"], "--out is missing"),
        (["convert", "--modle=clip"], "unknown flag --modle; did you mean 'model'?"),
        (["models", "clipp"], "unknown model 'clipp'; did you mean 'clip'?"),
        (["methods", "erm"], "unexpected argument 'erm'"),
        (["datasets", "chekc"], "unknown command 'chekc'; did you mean 'check'?"),
        (["audit", "nowhere.csv", "--label=y", "--score=s", "--group=g"], "nowhere.csv"),
        (["slurm"], "after two hyphens"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_begins_with_fairjax(arguments, message, tmp_path):
    failed = fairjax(*arguments, cwd=tmp_path)
    assert failed.returncode == 2, failed.stderr
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith("fairjax: ")
    assert message in line


def test_a_configuration_is_found_by_name_by_path_and_before_the_packaged_one(tmp_path):
    for name in packaged_configs():
        assert (ROOT / "configs" / f"{name}.py").is_file()
    dry = ["--config.dataset.n_patients=240", "--dry_run", f"--workdir={tmp_path / 'work'}"]
    done = fairjax("launch", "--config=quickstart", *dry, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "phantom_vit: " in done.stdout
    own = tmp_path / "configs"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "common.py").write_text("SEEDS = 3\n")
    (own / "mine.py").write_text(
        "from configs import common as ours\n"
        "from fairjax.configs import common, quickstart\n"
        "def get_config():\n"
        "    config = quickstart.get_config()\n"
        "    config.seeds = ours.SEEDS\n"
        "    return config\n"
    )
    done = fairjax("launch", "--config=configs/mine.py", *dry, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 runs" in done.stdout  # 3 seeds × 2 learning rates


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_an_interrupted_launch_says_in_one_line_how_to_go_on(number, code, name, tmp_path):
    command = ["launch", *SMALL, f"--workdir={tmp_path / 'work'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fairjax", *command],
        cwd=ROOT,
        env=os.environ | {"FAIRJAX_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(Path(tmp_path).rglob("rows-*.npy")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith(f"fairjax: stopped by {name}; to continue, give the same command: ")
    assert last.endswith(f"fairjax launch {' '.join(command[1:])}")
    assert "Traceback" not in stderr
