"""Methods in a table for the console."""

from __future__ import annotations

import textwrap

import pandas as pd

from fairjax.report.cells import metric, short
from fairjax.report.compared import SHOWN, Compared
from fairjax.report.selected import ALL, GAP, OVERALL
from fairjax.report.tables import columns_of, padded

_LONGEST_LABEL = 24


def console_methods(frame: pd.DataFrame, *, name: str = "auc", confidence: float = 0.95, width: int = 120) -> str:
    """Lays out methods for a terminal: per usage and attribute the overall value, that of the worst group, and the gap.

    Args:
      frame: of `fairjax.statistics.methods.compare_methods`.
      name: the metric.
      confidence: level of the intervals.
      width: columns of the terminal; notes are wrapped to it.

    Returns:
      Two lines for each method, values and differences to the baseline; a difference whose interval excludes 0 is
      marked.
    """
    compared = Compared(frame)
    attributes = [attribute for attribute in dict.fromkeys(frame["attribute"]) if attribute != ALL]
    label = metric(name).short
    table = [["", "seeds", *(f"{label} {group} " for group in SHOWN)]]
    for usage in compared.usages:
        for attribute in attributes or [ALL]:
            among = compared.told(usage, attribute)
            table.append([short(f"{usage}, by {attribute}", 2 * _LONGEST_LABEL), "", *[""] * len(SHOWN)])
            for of in among:
                pairs = [compared.pair(of, attribute, name, group) for group in (SHOWN if attributes else [OVERALL])]
                seeds = f"{compared.n_seeds[of]:,}"
                table.append(
                    [
                        f"  {short(compared.label(of, among), _LONGEST_LABEL)}",
                        seeds,
                        *(v.text() + " " for v, _ in pairs),
                    ]
                )
                if any(difference.known for _, difference in pairs):
                    table.append(["", "", *(d.text() + ("*" if d.excludes_zero else " ") for _, d in pairs)])
    table = [row + [""] * (2 + len(SHOWN) - len(row)) for row in table]
    widths = [max(map(columns_of, column)) for column in zip(*table[:1], *(row for row in table[1:] if row[2]))]
    lines = []
    for first, *cells in table:
        numbers = "  ".join(cell.rjust(wide) for cell, wide in zip(cells, widths[1:]))
        lines.append(f"{padded(first, widths[0])}  {numbers}".rstrip())
    lines.insert(1, "─" * (sum(widths) + 2 * (len(widths) - 1)))
    baselines = " or ".join(dict.fromkeys(compared.baselines.values()))
    notes = [f"mean over seeds [ ] {100 * confidence:g} % interval over patients and seeds"]
    if baselines:
        notes.append(f"second line: difference to {baselines}, paired by patient and seed; * its interval excludes 0")
    if attributes:
        notes.append(f"worst: the worst group; {GAP}: highest − lowest group")
    return "\n".join([*lines, *textwrap.wrap("; ".join(notes), width)])
