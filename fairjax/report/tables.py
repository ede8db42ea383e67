"""Tables of the results: for the console, and for summary.csv."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fairjax.report.cells import Cell, count, decimal, finite, metric, short
from fairjax.report.data import ReportData
from fairjax.report.selected import ALL, GAP, HYPER_PARAMETERS, OVERALL, WORST, Selected

_LONGEST_LABEL = 18
_MARK = "*"


def console_table(
    data: ReportData | pd.DataFrame,
    run: str | None = None,
    *,
    metrics: Sequence[str] | None = None,
    width: int = 120,
) -> str:
    """Lays out the numbers of one run for a terminal: per attribute, overall, each group and the
    gap.

    Args:
      data: a report's data, or its `results`.
      run: the run to show; by default the selected run of a report's data, or the first run of the
        results.
      metrics: metrics to show; by default all, in order of display. Those that do not fit are left
        out.
      width: columns of the terminal.

    Returns:
      Lines of at most `width` characters. A gap whose interval excludes 0 is marked; where there is
      no number, a footnote says why.

    Raises:
      UserError: there is no such run.
    """
    results = data.results if isinstance(data, ReportData) else data
    default = data.run if isinstance(data, ReportData) else results["run"].iloc[0]
    selected = Selected(results, run or default)
    shown = list(metrics or selected.metrics)
    sample = data.sample if isinstance(data, ReportData) else "image"
    reasons: dict[str, int] = {}
    table = [["", "n", "pos.", *(f"{metric(name).short} " for name in shown)]]
    if selected.has_all:
        table.append(_row(selected, ALL, OVERALL, f"all {sample}s", shown, reasons))
    for attribute in selected.attributes:
        table.append([short(attribute, _LONGEST_LABEL), *[""] * (len(shown) + 2)])
        groups = [OVERALL, *selected.groups(attribute), GAP]
        table += [
            _row(selected, attribute, group, f"  {group}", shown, reasons) for group in groups
        ]
        gaps = [selected.cell(attribute, name, GAP) for name in shown]
        if any(finite(gap.p_value) for gap in gaps):
            table.append(["  p (corrected)", "", "", *(_p_value(gap) for gap in gaps)])
        if selected.hidden(attribute):
            table.append([f"  … {selected.hidden(attribute)} more", *[""] * (len(shown) + 2)])

    widths = [max(map(columns_of, column)) for column in zip(*table)]
    widths[0] += 1
    while len(widths) > 4 and sum(widths) + len(widths) - 1 > width:
        widths.pop()
    lines = []
    for label, *cells in table:
        numbers = " ".join(cell.rjust(wide) for cell, wide in zip(cells, widths[1:]))
        lines.append(f"{padded(label, widths[0])} {numbers}".rstrip())
    lines.insert(1, "─" * (sum(widths) + len(widths) - 1))
    level = f"{100 * data.confidence:g} % " if isinstance(data, ReportData) else ""
    unit = data.unit if isinstance(data, ReportData) else "patient"
    notes = ["gap: highest − lowest group"]
    if selected.has_intervals:
        notes = [
            f"[ ] {level}interval over {unit}s; {notes[0]}; * the interval of the gap excludes 0"
        ]
    if any(selected.n_tests(name) for name in shown):
        notes.append(
            "p: permutation test of the gap (after Holm's correction over attributes and models)"
        )
    for attribute in selected.attributes:
        remark = selected.cell(attribute, selected.primary, GAP).remark
        notes += [f"{attribute}: the gap is {remark}"] if remark else []
    notes += [f"({number}) no number: {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, *(line for note in notes for line in textwrap.wrap(note, width))])


def _row(
    selected: Selected,
    attribute: str,
    group: str,
    label: str,
    metrics: Sequence[str],
    reasons: dict[str, int],
) -> list[str]:
    """Returns label, n, positives and a number per metric; a new reason for no number is added to
    `reasons`.
    """
    sizes = ("", "") if group == GAP else map(count, selected.sizes(attribute, group))
    texts = []
    for name in metrics:
        cell = selected.cell(attribute, name, group)
        if cell.known:
            texts.append(cell.text() + (_MARK if group == GAP and cell.excludes_zero else " "))
        else:
            texts.append(f"({reasons.setdefault(cell.reason, len(reasons) + 1)}) ")
    return [short(label, _LONGEST_LABEL), *sizes, *texts]


def _p_value(gap: Cell) -> str:
    if not finite(gap.p_value):
        return ""
    return decimal(gap.p_value) + (f" ({decimal(gap.p_holm)}) " if finite(gap.p_holm) else " ")


def padded(text: str, wide: int) -> str:
    """Returns text filled up to `wide` columns of a terminal, where East Asian letters take two."""
    return text + " " * (wide - columns_of(text))


def columns_of(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def summary_table(results: pd.DataFrame, run: str) -> pd.DataFrame:
    """Returns one row per attribute: the numbers of one run, and how they are distributed over
    runs.

    For each metric m, over the attribute's groups and with _low and _high for intervals: overall_m,
    worst_m and m_gap; their mean and standard deviation over the seeds at the run's
    hyper-parameters (_seed_mean, _seed_std); and their 5th, 50th and 95th percentile over all runs
    (_runs_p5, _runs_p50, _runs_p95).

    Args:
      results: the tidy table of `ReportData`.
      run: a value of its column `run`.

    Returns:
      Columns attribute ("all" has overall numbers only), run, its hyper-parameters and seed, n,
      n_positive, n_seeds, n_runs, and the numbers above.

    Raises:
      UserError: there is no such run.
    """
    selected = Selected(results, run)
    same = same_settings(results, selected.row)
    spread = distribution(results)
    seeds = distribution(results[same])
    rows = []
    for attribute in ([ALL] if selected.has_all else []) + selected.attributes:
        n, n_positive = selected.sizes(attribute, OVERALL)
        row: dict[str, Any] = {"attribute": attribute, "run": run}
        row |= {key: selected.row[key] for key in (*HYPER_PARAMETERS, "seed") if key in results}
        row |= {"n": n, "n_positive": n_positive}
        row |= {"n_seeds": results.loc[same, "run"].nunique(), "n_runs": results["run"].nunique()}
        for name in selected.metrics:
            for group, key in (
                (OVERALL, f"overall_{name}"),
                (WORST, f"worst_{name}"),
                (GAP, f"{name}_gap"),
            ):
                cell = selected.cell(attribute, name, group)
                if (attribute, name, group) not in spread.index:
                    continue
                over_seeds, over_runs = (
                    seeds.loc[attribute, name, group],
                    spread.loc[attribute, name, group],
                )
                row |= {key: cell.value, f"{key}_low": cell.low, f"{key}_high": cell.high}
                row |= {
                    f"{key}_seed_mean": over_seeds["mean"],
                    f"{key}_seed_std": over_seeds["std"],
                }
                row |= {f"{key}_runs_{which}": over_runs[which] for which in ("p5", "p50", "p95")}
        rows.append(row)
    return pd.DataFrame(rows)


def same_settings(results: pd.DataFrame, row: pd.Series) -> pd.Series:
    """Marks the rows of runs that differ from the run of `row` in nothing but the seed."""
    keys = [key for key in HYPER_PARAMETERS if key in results]
    same = pd.Series(True, results.index)
    for key in keys:
        same &= results[key].isna() if pd.isna(row[key]) else results[key] == row[key]
    return same


def distribution(results: pd.DataFrame) -> pd.DataFrame:
    """Returns mean, std (ddof 1), p5, p50, p95 and count over runs, by attribute, metric and
    summary (overall, …).
    """
    rows = results[results["group"].isin([OVERALL, WORST, GAP])]
    grouped = rows.groupby(["attribute", "metric", "group"], sort=False, observed=True)["value"]
    table = grouped.agg(["mean", "std", "count"])
    for percent in (5, 50, 95):
        table[f"p{percent}"] = grouped.quantile(percent / 100)
    return table
