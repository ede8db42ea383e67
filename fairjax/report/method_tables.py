"""Methods in a table for the console."""

from __future__ import annotations

import textwrap

import pandas as pd

from fairjax.report.compared import SHOWN, Compared, Method
from fairjax.report.display import metric
from fairjax.report.format import short
from fairjax.report.selected import ALL, GAP, OVERALL
from fairjax.utils.text import aligned, widths_of

_MAX_LABEL = 24  # letters


def console_methods(
    frame: pd.DataFrame, *, name: str = "auc", confidence: float = 0.95, width: int = 120
) -> str:
    """Lays out methods for a terminal: overall value, worst group and gap by usage and attribute.

    Args:
      frame: the frame of `fairjax.statistics.methods.compare_methods`.
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
    rows = [["", "seeds", *(f"{metric(name).short} {group} " for group in SHOWN)]]
    for usage in compared.usages:
        for attribute in attributes or [ALL]:
            title = short(f"{usage}, by {attribute}" if attributes else usage, 2 * _MAX_LABEL)
            rows.append([title, *[""] * (1 + len(SHOWN))])
            for method in compared.methods_for(usage, attribute):
                rows += _rows(compared, method, attribute, name, reasons)
    widths = widths_of(row for row in rows if row[2])
    lines = aligned(rows, numeric=True, widths=widths)
    lines.insert(1, "─" * (sum(widths) + 2 * (len(widths) - 1)))
    notes = [f"mean over seeds [ ] {100 * confidence:g} % interval over patients and seeds"]
    if compared.baselines:
        baselines = " or ".join(dict.fromkeys(compared.baselines.values()))
        paired = "paired by patient and seed; * its interval excludes 0"
        notes.append(f"second line: difference to {baselines}, {paired}")
    if attributes:
        notes.append(f"worst: the worst group; {GAP}: highest − lowest group")
    notes += [f"({number}) no number: {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, *textwrap.wrap("; ".join(notes), width)])


def _rows(
    compared: Compared, method: Method, attribute: str, name: str, reasons: dict[str, int]
) -> list[list[str]]:
    """Returns a method's values, and its differences if it has any; new reasons go to `reasons`."""
    groups = [OVERALL] if attribute == ALL else SHOWN
    pairs = [compared.pair(method, attribute, name, group) for group in groups]
    empty = [""] * (len(SHOWN) - len(groups))
    values = []
    for value, _ in pairs:
        number = None if value.known else reasons.setdefault(value.reason, len(reasons) + 1)
        values.append(f"{value.text() if value.known else f'({number})'} ")
    label = compared.label(method, compared.methods_for(method.usage, attribute))
    rows = [[f"  {short(label, _MAX_LABEL)}", f"{compared.n_seeds[method]:,}", *values, *empty]]
    if any(difference.known for _, difference in pairs):
        differences = [d.text() + ("*" if d.excludes_zero else " ") for _, d in pairs]
        rows.append(["", "", *differences, *empty])
    return rows
