"""Methods in a table for the console."""

from __future__ import annotations

import textwrap

import pandas as pd

from fairjax.report.cells import metric, short
from fairjax.report.compared import SHOWN, Compared, Method
from fairjax.report.selected import ALL, GAP, OVERALL
from fairjax.report.tables import columns_of, padded

_LONGEST_LABEL = 24


def console_methods(
    frame: pd.DataFrame, *, name: str = "auc", confidence: float = 0.95, width: int = 120
) -> str:
    """Lays out methods for a terminal: per usage and attribute the overall value, that of the worst
    group, and the gap.

    Args:
      frame: of `fairjax.statistics.methods.compare_methods`.
      name: the metric.
      confidence: level of the intervals.
      width: columns of the terminal; notes are wrapped to it.

    Returns:
      Two lines for each method, values and differences to the baseline; a difference whose interval
      excludes 0 is marked.
    """
    compared = Compared(frame)
    attributes = [attribute for attribute in dict.fromkeys(frame["attribute"]) if attribute != ALL]
    reasons: dict[str, int] = {}
    table = [["", "seeds", *(f"{metric(name).short} {group} " for group in SHOWN)]]
    for usage in compared.usages:
        for attribute in attributes or [ALL]:
            title = short(f"{usage}, by {attribute}" if attributes else usage, 2 * _LONGEST_LABEL)
            table.append([title, *[""] * (1 + len(SHOWN))])
            for of in compared.told(usage, attribute):
                table += _lines(compared, of, attribute, name, reasons)
    widths = [max(map(columns_of, column)) for column in zip(*(row for row in table if row[2]))]
    lines = []
    for first, *cells in table:
        numbers = "  ".join(cell.rjust(wide) for cell, wide in zip(cells, widths[1:]))
        lines.append(f"{padded(first, widths[0])}  {numbers}".rstrip())
    lines.insert(1, "─" * (sum(widths) + 2 * (len(widths) - 1)))
    notes = [f"mean over seeds [ ] {100 * confidence:g} % interval over patients and seeds"]
    if compared.baselines:
        baselines = " or ".join(dict.fromkeys(compared.baselines.values()))
        notes.append(
            f"second line: difference to {baselines}, paired by patient and seed; * its interval excludes 0"
        )
    if attributes:
        notes.append(f"worst: the worst group; {GAP}: highest − lowest group")
    notes += [f"({number}) no number: {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, *textwrap.wrap("; ".join(notes), width)])


def _lines(
    compared: Compared, of: Method, attribute: str, name: str, reasons: dict[str, int]
) -> list[list[str]]:
    """Returns the values of a method, and under them its differences if it has any; new reasons go
    to `reasons`.
    """
    groups = [OVERALL] if attribute == ALL else SHOWN
    pairs = [compared.pair(of, attribute, name, group) for group in groups]
    empty = [""] * (len(SHOWN) - len(groups))
    values = [
        f"{value.text() if value.known else f'({reasons.setdefault(value.reason, len(reasons) + 1)})'} "
        for value, _ in pairs
    ]
    label = short(compared.label(of, compared.told(of.usage, attribute)), _LONGEST_LABEL)
    lines = [[f"  {label}", f"{compared.n_seeds[of]:,}", *values, *empty]]
    if any(difference.known for _, difference in pairs):
        differences = [d.text() + ("*" if d.excludes_zero else " ") for _, d in pairs]
        lines.append(["", "", *differences, *empty])
    return lines
