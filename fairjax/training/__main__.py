"""`fairjax methods`: the tables of methods, of their wrappers, and of post-processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairjax.utils import cli, plugins
from fairjax.utils.errors import UserError


def main(argv: list[str]) -> None:
    """Prints the tables."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; all methods are listed")
    plugins.load()
    print(tables())


def tables() -> str:
    """Methods and their strengths, wrappers, and post-processors, as aligned text."""
    from fairjax.training.objectives import METHODS, WRAPPERS
    from fairjax.training.objectives.base import describe
    from fairjax.training.postprocessing.table import POSTPROCESSORS

    wrappers = [{"wrapper": f"+{name}", "paper": paper} for name, paper in WRAPPERS.items()]
    rules = [
        {"post-processor": name, "what": row.title, "paper": row.paper}
        for name, row in POSTPROCESSORS.items()
    ]
    methods = [dict(describe(row)) for row in METHODS.values()]
    return "\n\n".join(_aligned(rows) for rows in (methods, wrappers, rules))


def _aligned(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


if __name__ == "__main__":
    cli.run(main)
