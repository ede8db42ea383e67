"""`fairjax tpu --name=POD --zone=ZONE -- --config=NAME --workdir=DIR`: all hosts of a TPU pod.

fairjax must be installed on the hosts in `--directory`, and the work directory be on a file system
that they share. JAX finds the other hosts by itself.
"""

from __future__ import annotations

import shlex

from absl import flags

from fairjax.launchers import common
from fairjax.launchers.common import program, start
from fairjax.utils import cli
from fairjax.utils.errors import UserError

flags.adopt_module_key_flags(common)
NAME = flags.DEFINE_string("name", None, "Name of the TPU.")
ZONE = flags.DEFINE_string("zone", None, "Zone of the TPU.")
PROJECT = flags.DEFINE_string("project", None, "Project of the TPU; by default gcloud's.")
DIRECTORY = flags.DEFINE_string(
    "directory", "fairjax", "The checkout on the hosts, below the home directory."
)
SETUP = flags.DEFINE_string(
    "setup", None, "A line of shell before the start, such as 'source venv/bin/activate'."
)
PYTHON = flags.DEFINE_string("python", "python3", "The interpreter on the hosts.")


def main(argv: list[str]) -> None:
    """Runs the program on all hosts at once, and stays until it has ended."""
    if not NAME.value or not ZONE.value:
        raise UserError("say which TPU: --name=POD --zone=ZONE")
    run = f"FAIRJAX_DISTRIBUTED=auto {shlex.join(program(argv, PYTHON.value))}"
    steps = [f"cd {shlex.quote(DIRECTORY.value)}", *([SETUP.value] if SETUP.value else []), run]
    where = [f"--zone={ZONE.value}", *([f"--project={PROJECT.value}"] if PROJECT.value else [])]
    remote = f"--command={' && '.join(steps)}"
    start(
        ["gcloud", "compute", "tpus", "tpu-vm", "ssh", NAME.value, *where, "--worker=all", remote]
    )


if __name__ == "__main__":
    cli.run(main)
