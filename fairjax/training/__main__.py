"""`python -m fairjax.training`: the tables of methods, wrappers and post-processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairjax.training.objectives import METHODS, WRAPPERS
from fairjax.training.objectives.base import describe
from fairjax.training.postprocessing.table import POSTPROCESSORS


def tables() -> str:
    """Methods with what their strength means and its default, wrappers, and post-processors, as
    aligned text.
    """
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
    print(tables())
