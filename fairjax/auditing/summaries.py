"""The two tables of an audit: a row for each attribute, and a row for each group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing.policies import AT_THRESHOLD, BEST, COMPAT_METRICS
from fairjax.metrics.disparity import CRITERION, DISPARITIES
from fairjax.statistics.rows import ALL, OK, OVERALL

ENDS = {"": "value", "_low": "ci_low", "_high": "ci_high"}
_COMPAT_SUMMARY = {  # column → metric and group
    "overall-auc": ("auc", OVERALL),
    "overall-acc": (f"acc{BEST}", OVERALL),
    "overall-bce": ("bce", OVERALL),
    "overall-ece": ("ece", OVERALL),
    "worst-auc": ("auc", "worst"),
    "auc-gap": ("auc", "gap"),
    "acc-gap": (f"acc{BEST}", "gap"),
    "bce-gap": ("bce", "gap"),
    "ece-gap": ("ece", "gap"),
    "eod": ("eod", CRITERION),
    "eo": (f"tpr{BEST}", "gap"),
}
_COMPAT_DICE = {
    "mean_dice": ("dice", OVERALL),
    "min_dice": ("dice", "worst"),
    "max_dice": ("dice", "best"),
    "delta_dice": ("dice", "gap"),
    "skewness_dice": ("dice", "skewness"),
    "std_dice": ("dice", "std"),
    "es_dice": ("dice", "es_std"),
}


def groups_of(results: pd.DataFrame, attributes: dict[str, list[str]]) -> pd.DataFrame:
    """The rows of groups proper."""
    names = {(attribute, group) for attribute, groups in attributes.items() for group in groups}
    return results[[key in names for key in zip(results["attribute"], results["group"])]]


def summary(results: pd.DataFrame, attributes: dict[str, list[str]], policy: str) -> pd.DataFrame:
    """One row for each attribute (and model, if there are several), with intervals if there are
    any.

    In `strict`, for each metric m: overall_m, m_gap with m_gap_p, m_gap_corrected, m_worst,
    m_ratio, …, and every criterion by its name. In `compat`, the columns of the published code.
    Ends of intervals are in …_low and …_high.
    """
    rows = results[results["attribute"] != ALL]
    counted = _with_numbers(groups_of(rows, attributes))
    lines: dict[tuple, dict[str, Any]] = {}
    for (run, attribute), of in rows.groupby(["run", "attribute"], sort=False):
        overall = of[of["group"] == OVERALL].iloc[0]
        line: dict[str, Any] = {
            "n": int(overall["n"]),
            "n_groups": int(counted.get((run, attribute), 0)),
        }
        numbers = of.set_index(["metric", "group"])
        if policy == "compat":
            if line["n_groups"] < 2:
                numbers = _without_numbers(numbers)
            columns = _COMPAT_DICE if ("dice", OVERALL) in numbers.index else _COMPAT_SUMMARY
            named = [(column, numbers.loc[key]) for column, key in columns.items()]
        else:
            named = [
                (_column(metric, group), number)
                for (metric, group), number in numbers.iterrows()
                if group in (OVERALL, CRITERION, *DISPARITIES)
            ]
        for column, number in named:
            line |= _with_interval(column, number)
            if policy == "strict" and number.name[1] == "gap" and not np.isnan(number["p_value"]):
                line[f"{column}_p"] = number["p_value"]
        lines[run, attribute] = line
    return _indexed(lines, ["attribute"])


def by_group(results: pd.DataFrame, attributes: dict[str, list[str]], policy: str) -> pd.DataFrame:
    """One row for each group: n, n_positive, every metric with its interval, and `status` (in
    `compat`: `skipped`).
    """
    lines: dict[tuple, dict[str, Any]] = {}
    rows = groups_of(results, attributes)
    counted = _with_numbers(rows)
    for (run, attribute, group), of in rows.groupby(["run", "attribute", "group"], sort=False):
        numbers = of.set_index("metric")
        first = numbers.iloc[0]
        if policy == "compat":
            known = numbers if counted.get((run, attribute), 0) > 1 else _without_numbers(numbers)
            lines[run, attribute, group] = _compat_group(known, first)
            continue
        line: dict[str, Any] = {"n": int(first["n"])} | (
            {"n_positive": int(first["n_positive"])} if first["n_positive"] >= 0 else {}
        )
        for metric, number in numbers.iterrows():
            line |= _with_interval(str(metric), number)
        lines[run, attribute, group] = line | {"status": first["status"]}
    return _indexed(lines, ["attribute", "group"])


def _with_numbers(groups: pd.DataFrame) -> pd.Series:
    """How many groups of each run and attribute have numbers."""
    return groups[groups["value"].notna()].groupby(["run", "attribute"])["group"].nunique()


def _without_numbers(numbers: pd.DataFrame) -> pd.DataFrame:
    """As the published code has it where fewer than two groups could be evaluated."""
    return numbers.assign(value=np.nan, ci_low=np.nan, ci_high=np.nan)


def _compat_group(numbers: pd.DataFrame, first: pd.Series) -> dict[str, Any]:
    """Returns the columns of the published code: metrics and counts at both thresholds."""
    line: dict[str, Any] = {"n": int(first["n"])}
    skipped = {"skipped": None if first["status"] == OK else first["status"]}
    if "dice" in numbers.index:
        return line | _with_interval("mean_dice", numbers.loc["dice"]) | skipped
    negatives, positives = first["n"] - first["n_positive"], first["n_positive"]
    for suffix in ("", BEST):
        for metric in COMPAT_METRICS:
            number = numbers.loc[metric + suffix if metric in AT_THRESHOLD else metric]
            line |= _with_interval(metric + suffix, number)
        tp, tn = line[f"tpr{suffix}"] * positives, line[f"tnr{suffix}"] * negatives
        counts = {"tn": tn, "fp": negatives - tn, "fn": positives - tp, "tp": tp}
        line |= {name + suffix: np.round(count) for name, count in counts.items()}
    return line | skipped


def _column(metric: str, group: str) -> str:
    if group == CRITERION:
        return metric
    return f"overall_{metric}" if group == OVERALL else f"{metric}_{group}"


def _with_interval(column: str, number: pd.Series) -> dict[str, float]:
    return {
        column + end: number[of]
        for end, of in ENDS.items()
        if end == "" or not np.isnan(number["ci_low"])
    }


def _indexed(lines: dict[tuple, dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """Rows by model and `names`; the model is left out of the index where there is only one."""
    several = len({run for run, *_ in lines}) > 1
    table = pd.DataFrame(list(lines.values()))
    keys = [key if several else key[1:] for key in lines]
    names = ["model", *names] if several else names
    table.index = (
        pd.MultiIndex.from_tuples(keys, names=names)
        if len(names) > 1
        else pd.Index([key[0] for key in keys], name=names[0])
    )
    return table
