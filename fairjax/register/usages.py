"""Registers a usage: what is done with a foundation model's embeddings."""

from __future__ import annotations

from fairjax.register import table
from fairjax.tasks.classification.condition import Usage
from fairjax.tasks.classification.usages import USAGES
from fairjax.utils.errors import UserError

METHODS = ("check", "runs", "forecast", "train")


def usage(row: Usage, *, version: str = "") -> None:
    """Registers a usage: `--config.training.usages=NAME`.

    Args:
      row: an object with `name`, `title`, and the methods `check`, `runs`, `forecast` and `train`.
      version: changes the runs' identity, where the usage depends on more than its code.

    Raises:
      UserError: the name is taken, or a method is missing.
    """
    table.require_type("usage", getattr(row, "name", row), row, Usage)
    if missing := [name for name in METHODS if not callable(getattr(row, name, None))]:
        raise UserError(f"usage {row.name!r} lacks {', '.join(missing)}")
    table.add("usage", USAGES, row.name, row, version=version)
