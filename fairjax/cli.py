"""`fairjax COMMAND …`: the fairness of medical-imaging foundation models, from the command line.

`fairjax COMMAND --help` has a command's arguments and flags.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys

from fairjax.utils import cli
from fairjax.utils.errors import EXIT_USER_ERROR, UserError, lookup

COMMANDS = {  # name → module with `main`, and what it does
    "launch": ("fairjax.launch", "run an experiment: embed, train, evaluate, report"),
    "audit": ("fairjax.auditing.command", "audit a table of predictions"),
    "convert": ("fairjax.converters.__main__", "convert a published checkpoint"),
    "datasets": ("fairjax.datasets.__main__", "list, check or split datasets, or write their page"),
    "models": ("fairjax.models.__main__", "list the foundation models, or describe some"),
    "methods": ("fairjax.training.__main__", "list the mitigation methods and post-processors"),
    "local": ("fairjax.launchers.local", "launch in several processes of this machine"),
    "slurm": ("fairjax.launchers.slurm", "launch on a SLURM cluster"),
    "tpu": ("fairjax.launchers.tpu", "launch on all hosts of a TPU pod"),
}
VERSION = {"version", "--version"}


def main() -> None:
    """Runs the command that is named first."""
    command, *rest = sys.argv[1:] or ["--help"]
    if command in cli.HELP | {"help"}:
        print(help_text())
    elif command in VERSION:
        print(version())
    else:
        try:
            name, _ = lookup("command", command, COMMANDS)
        except UserError as error:
            print(f"fairjax: {error}", file=sys.stderr)
            sys.exit(EXIT_USER_ERROR)
        sys.argv = [f"fairjax {command}", *rest]
        sys.path.insert(0, "")  # as `python -m` does: a user's configuration imports his modules
        module = importlib.import_module(name)
        cli.run(module.main, getattr(module, "parse", cli.parse), f"fairjax {command}")


def help_text() -> str:
    """The commands, a line each."""
    lines = [f"  {name:10s} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join([(__doc__ or "").strip(), "", "Commands:", *lines, "  version    say which"])


def version() -> str:
    """The versions of fairjax and of what its numbers depend on."""
    names = ("fairjax", "jax", "flax", "numpy")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
