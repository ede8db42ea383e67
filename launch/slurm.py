"""`fairjax slurm --nodes=4 --partition=gpu -- --config=NAME --workdir=DIR`: a job, a task per node.

The work directory, and the cache if embeddings are to be shared, must be on a file system that all
nodes see. JAX asks SLURM who the processes are; each has all devices of its node.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from absl import flags

from fairjax.launchers import common
from fairjax.launchers.common import DRY_RUN, program
from fairjax.utils import cli
from fairjax.utils.errors import UserError

flags.adopt_module_key_flags(common)
NODES = flags.DEFINE_integer("nodes", 1, "Nodes, with one process each.", lower_bound=1)
TIME = flags.DEFINE_string("time", "24:00:00", "Time limit, in the form of sbatch.")
NAME = flags.DEFINE_string("name", "fairjax", "Name of the job.")
PARTITION = flags.DEFINE_string("partition", None, "Partition; by default the cluster's.")
ACCOUNT = flags.DEFINE_string("account", None, "Account; by default the user's.")
GPUS = flags.DEFINE_integer("gpus_per_node", 0, "GPUs per node.", lower_bound=0)
CPUS = flags.DEFINE_integer(
    "cpus_per_task", 0, "Cores per process; 0: the cluster's default.", lower_bound=0
)
MEMORY = flags.DEFINE_string("mem", None, "Memory per node, such as 64G.")
OPTIONS = flags.DEFINE_multi_string(
    "option", [], "A further option of sbatch, such as --option=qos=long; repeatable."
)
SETUP = flags.DEFINE_string(
    "setup", None, "A line of shell before the start, such as 'source venv/bin/activate'."
)
PYTHON = flags.DEFINE_string("python", "python", "The interpreter on the nodes.")


def script(argv: list[str]) -> str:
    """The batch script."""
    options = {
        "job-name": NAME.value,
        "nodes": NODES.value,
        "ntasks-per-node": 1,
        "time": TIME.value,
        "output": f"{NAME.value}-%j.out",
        "partition": PARTITION.value,
        "account": ACCOUNT.value,
        "gpus-per-node": GPUS.value,
        "cpus-per-task": CPUS.value,
        "mem": MEMORY.value,
    }
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH --{name}={value}" for name, value in options.items() if value),
    ]
    lines += [f"#SBATCH --{option.removeprefix('--')}" for option in OPTIONS.value]
    lines += [
        "set -euo pipefail",
        f"cd {shlex.quote(str(Path.cwd()))}",
        *([SETUP.value] if SETUP.value else []),
    ]
    lines += ["export FAIRJAX_DISTRIBUTED=auto"] if NODES.value > 1 else []
    # srun does not inherit this option of sbatch since SLURM 22.05
    cpus = [f"--cpus-per-task={CPUS.value}"] if CPUS.value else []
    run = ["srun", "--kill-on-bad-exit=1", "--label", *cpus, *program(argv, PYTHON.value)]
    return "\n".join([*lines, shlex.join(run), ""])


def main(argv: list[str]) -> None:
    """Submits the script, or prints it."""
    text = script(argv)
    if DRY_RUN.value:
        print(text, end="")
        return
    try:
        done = subprocess.run(["sbatch"], input=text, text=True)
    except FileNotFoundError:
        raise UserError("there is no sbatch on this machine; --dry_run prints the script") from None
    if done.returncode:
        raise UserError(
            f"sbatch refused the job (exit code {done.returncode}); see its message above"
        )


if __name__ == "__main__":
    cli.run(main)
