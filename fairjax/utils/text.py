"""Tables as aligned text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def columns_of(text: str) -> int:
    """Returns how many columns of a terminal a text takes; East Asian letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def widths_of(rows: Iterable[Sequence[str]]) -> list[int]:
    """Returns the width of each column of a table."""
    return [max(map(columns_of, column)) for column in zip(*rows)]


def aligned(
    rows: Sequence[Sequence[str]],
    *,
    numeric: bool = False,
    widths: Sequence[int] | None = None,
    gap: str = "  ",
) -> list[str]:
    """Returns one line per row of a table, its columns aligned.

    Args:
      rows: texts; all rows have the same number of columns.
      numeric: whether all columns but the first are aligned on the right.
      widths: widths of the columns; columns beyond them are left out. By default all fit.
      gap: what is between two columns.
    """
    widths = widths_of(rows) if widths is None else widths
    lines = []
    for row in rows:
        parts = []
        for column, (text, width) in enumerate(zip(row, widths)):
            space = " " * (width - columns_of(text))
            parts.append(space + text if numeric and column else text + space)
        lines.append(gap.join(parts).rstrip())
    return lines
