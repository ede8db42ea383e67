"""Tables of the results: for the console, and for summary.csv."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fairjax.report.data import ReportData
from fairjax.report.display import metric
from fairjax.report.estimate import Estimate
from fairjax.report.format import count, decimal, finite, short
from fairjax.report.selected import ALL, GAP, HYPER_PARAMETERS, OVERALL, WORST, Selected
from fairjax.utils.text import aligned, widths_of

_MAX_LABEL = 18  # letters
_MARK = "*"


def console_table(
    data: ReportData | pd.DataFrame,
    run: str | None = None,
    *,
    metrics: Sequence[str] | None = None,
    width: int = 120,
) -> str:
    """Lays out one run for a terminal: per attribute the overall value, each group and the gap.

    Args:
      data: a report's data, or its `results`.
      run: the run; by default the selected run of a report's data, or the first run of the results.
      metrics: names of metrics; by default all, in order of display. Those that do not fit are left
        out.
      width: columns of the terminal.

    Returns:
      Lines of at most `width` characters. A gap whose interval excludes 0 is marked; where there is
      no number, a footnote says why.

    Raises:
      UserError: there is no such run.
    """
    report = data if isinstance(data, ReportData) else None
    results = data.results if isinstance(data, ReportData) else data
    selected = Selected(results, run or (report.run if report else results["run"].iloc[0]))
    shown = list(metrics or selected.metrics)
    reasons: dict[str, int] = {}
    rows = _rows(selected, shown, report.sample if report else "image", reasons)
    widths = widths_of(rows)
    widths[0] += 1
    while len(widths) > 4 and sum(widths) + len(widths) - 1 > width:
        widths.pop()
    lines = aligned(rows, numeric=True, widths=widths, gap=" ")
    lines.insert(1, "─" * (sum(widths) + len(widths) - 1))
    notes = _notes(selected, shown, report)
    notes += [f"({number}) no number: {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, *(line for note in notes for line in textwrap.wrap(note, width))])


def _rows(
    selected: Selected, metrics: Sequence[str], sample: str, reasons: dict[str, int]
) -> list[list[str]]:
    """Returns the header, and per attribute its rows; new reasons go to `reasons`."""
    empty = [""] * (len(metrics) + 2)
    rows = [["", "n", "pos.", *(f"{metric(name).short} " for name in metrics)]]
    if selected.has_all:
        rows.append(_row(selected, (ALL, OVERALL), f"all {sample}s", metrics, reasons))
    for attribute in selected.attributes:
        rows.append([short(attribute, _MAX_LABEL), *empty])
        rows += [
            _row(selected, (attribute, group), f"  {group}", metrics, reasons)
            for group in (OVERALL, *selected.groups(attribute), GAP)
        ]
        gaps = [selected.estimate(attribute, name, GAP) for name in metrics]
        if any(finite(gap.p_value) for gap in gaps):
            rows.append(["  p (corrected)", "", "", *(_p_value(gap) for gap in gaps)])
        if selected.hidden(attribute):
            rows.append([f"  … {selected.hidden(attribute)} more", *empty])
    return rows


def _row(
    selected: Selected,
    subgroup: tuple[str, str],
    label: str,
    metrics: Sequence[str],
    reasons: dict[str, int],
) -> list[str]:
    """Returns label, n, positives and a number per metric; new reasons go to `reasons`."""
    attribute, group = subgroup
    sizes = ("", "") if group == GAP else map(count, selected.sizes(attribute, group))
    texts = []
    for name in metrics:
        estimate = selected.estimate(attribute, name, group)
        if estimate.known:
            marked = group == GAP and estimate.excludes_zero
            texts.append(estimate.text() + (_MARK if marked else " "))
        else:
            texts.append(f"({reasons.setdefault(estimate.reason, len(reasons) + 1)}) ")
    return [short(label, _MAX_LABEL), *sizes, *texts]


def _notes(selected: Selected, metrics: Sequence[str], report: ReportData | None) -> list[str]:
    """Returns footnotes on intervals, tests, and gaps with a remark."""
    notes = ["gap: highest − lowest group"]
    if selected.has_intervals:
        level = f"{100 * report.confidence:g} % " if report else ""
        interval = f"[ ] {level}interval over {report.unit if report else 'patient'}s"
        notes = [f"{interval}; {notes[0]}; * the interval of the gap excludes 0"]
    if any(selected.n_tests(name) for name in metrics):
        holm = "after Holm's correction over attributes and models"
        notes.append(f"p: permutation test of the gap ({holm})")
    for attribute in selected.attributes:
        remark = selected.estimate(attribute, selected.primary, GAP).remark
        notes += [f"{attribute}: the gap is {remark}"] if remark else []
    return notes


def _p_value(gap: Estimate) -> str:
    if not finite(gap.p_value):
        return ""
    return decimal(gap.p_value) + (f" ({decimal(gap.p_holm)}) " if finite(gap.p_holm) else " ")


def summary_table(results: pd.DataFrame, run: str) -> pd.DataFrame:
    """Returns one row per attribute: the numbers of one run, and their distribution over runs.

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
            keys = {OVERALL: f"overall_{name}", WORST: f"worst_{name}", GAP: f"{name}_gap"}
            for group, key in keys.items():
                index = attribute, name, group
                if index not in spread.index:
                    continue
                estimate, over_seeds = selected.estimate(*index), seeds.loc[index]
                row |= {key: estimate.value}
                row |= {f"{key}_low": estimate.low, f"{key}_high": estimate.high}
                row |= {f"{key}_seed_{which}": over_seeds[which] for which in ("mean", "std")}
                over_runs = spread.loc[index]
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
    """Returns mean, std (ddof 1), count and percentiles by attribute, metric and summary."""
    rows = results[results["group"].isin([OVERALL, WORST, GAP])]
    grouped = rows.groupby(["attribute", "metric", "group"], sort=False, observed=True)["value"]
    table = grouped.agg(["mean", "std", "count"])
    for percent in (5, 50, 95):
        table[f"p{percent}"] = grouped.quantile(percent / 100)
    return table
