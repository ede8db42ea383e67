"""What the launchers share: what comes after `--` goes to `fairjax launch`."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from fairjax.utils.errors import UserError

DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the commands, and do nothing.")
MODULE = flags.DEFINE_string("module", "fairjax.launch", "The program to start.")


def program(argv: Sequence[str], python: str) -> list[str]:
    """The command of one process.

    Args:
      argv: what is left of the command line, the launcher's own name first.
      python: interpreter of the process.

    Raises:
      UserError: nothing comes after `--`.
    """
    if len(argv) < 2:
        raise UserError(
            "say what to start, after two hyphens: … -- --config=quickstart --workdir=runs/a"
        )
    return [python, "-m", MODULE.value, *argv[1:]]


def start(command: list[str]) -> None:
    """Runs a command to its end, or prints it in a dry run; exits as it exits.

    Raises:
      UserError: there is no such program here.
    """
    if DRY_RUN.value:
        print(shlex.join(command))
        return
    try:
        done = subprocess.run(command)
    except FileNotFoundError:
        raise UserError(
            f"there is no program {command[0]!r} on this machine; --dry_run prints the command"
        ) from None
    sys.exit(done.returncode)
