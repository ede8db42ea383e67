"""Methods compared: numbers, the cost of fairness, who is worse off, and the spread over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from fairjax.metrics.disparity import DISPARITIES
from fairjax.metrics.table import METRICS
from fairjax.report import method_figures
from fairjax.report.compared import SHOWN, Compared, Method, Runs
from fairjax.report.display import metric
from fairjax.report.format import finite
from fairjax.report.method_figures import Track
from fairjax.report.sections.common import Page
from fairjax.report.selected import GAP, OVERALL, WORST
from fairjax.statistics import methods as statistics

_MAX_LINES = 25  # of the table of groups that are worse off; the rest is folded
_TITLES = {OVERALL: "overall", WORST: "of the worst group", GAP: "gap between groups"}


def methods(page: Page) -> dict[str, Any] | None:
    """Every method's values and its differences to the baseline, by usage and attribute."""
    compared = page.compared
    if compared is None:
        return None
    blocks = []
    for usage, attribute in _blocks(page, compared):
        among = compared.methods_for(usage, attribute)
        found = ((name, _table(compared, among, attribute, name)) for name in page.selected.metrics)
        tables = [(metric(name), table) for name, table in found if table]
        blocks.append((usage, attribute, tables))
    if not blocks:
        return None
    strengths = (float(of.get("strength", np.nan)) for of in compared.settings.values())
    seeds = sorted(set(compared.n_seeds.values()))
    return {
        "blocks": blocks,
        "compared": compared,
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "has_strength": any(map(finite, strengths)),
        "shown": [(g, DISPARITIES[g].label if g in DISPARITIES else "Overall") for g in SHOWN],
        "seeds": f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}",
        "one_seed": seeds[0] == 1,
    }


def _blocks(page: Page, compared: Compared) -> list[tuple[str, str]]:
    return [
        (usage, attribute) for usage in compared.usages for attribute in page.selected.attributes
    ]


def _table(compared: Compared, among: list[Method], attribute: str, name: str) -> list[tuple]:
    """Returns method, label, and per group of `SHOWN` the arguments of the template's `entry`."""
    higher = metric(name).higher_is_better
    wanted = {OVERALL: higher, WORST: higher, GAP: False}
    best: dict[str, set[Method]] = {
        group: set() if end is None else compared.best(among, attribute, name, group, higher=end)
        for group, end in wanted.items()
    }
    rows, known = [], False
    for method in among:
        entries = []
        for group in SHOWN:
            value, difference = compared.pair(method, attribute, name, group)
            direction = difference.direction(wanted[group])
            entries.append((value, difference, direction, method in best[group]))
            known |= value.known
        rows.append((method, compared.label(method, among), entries))
    return rows if known else []


def tradeoff(page: Page) -> dict[str, Any] | None:
    """Utility against fairness, with the paths of strengths and the Pareto front."""
    compared, name = page.compared, page.selected.primary
    if compared is None or not metric(name).higher_is_better:
        return None
    runs, blocks = Runs(page.data.results, compared, name), []
    for index, (usage, attribute) in enumerate(_blocks(page, compared)):
        among = compared.methods_for(usage, attribute)
        figures = []
        for group in (GAP, WORST):
            tracks = [_track(page, compared, runs, method, (attribute, group)) for method in among]
            tracks = [track for track in tracks if np.isfinite(track.point).all()]
            if len(tracks) > 1:
                figures.append(_tradeoff_figures(name, tracks, group, index))
        if figures:
            legend = [(page.method_styles[m.method], compared.label(m, among)) for m in among]
            blocks.append((usage, attribute, figures, legend))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None


def _tradeoff_figures(
    name: str, tracks: list[Track], group: str, index: int
) -> tuple[Markup, Markup | None]:
    """Returns the figure of all methods and, if they have many paths, that of each by itself."""
    labels = f"{metric(name).short} {_TITLES[OVERALL]}", f"{metric(name).short} {_TITLES[group]}"
    together = method_figures.tradeoff(f"trade{index}-{group}", tracks, labels, group == WORST)
    if sum(len(track.path) > 1 for track in tracks) <= method_figures.MAX_PATHS:
        return together, None
    return together, method_figures.apart(f"apart{index}-{group}", tracks, labels)


def _track(
    page: Page, compared: Compared, runs: Runs, method: Method, subgroup: tuple[str, str]
) -> Track:
    """Returns the utility and the fairness of a method, with those at its other strengths."""
    attribute, group = subgroup
    ends = OVERALL, group
    pairs = (compared.pair(method, attribute, page.selected.primary, end) for end in ends)
    utility, fairness = (value.value for value, _ in pairs)
    path = np.empty((0, 2))
    if "strength" in page.data.results:
        parts = (runs.values(method, attribute, end, free="strength") for end in ends)
        means = [part.groupby("strength")["value"].mean() for part in parts]
        path = pd.concat(means, axis=1, join="inner").sort_index().to_numpy()
    label = compared.label(method, compared.methods_for(method.usage, attribute))
    style, is_baseline = page.method_styles[method.method], compared.is_baseline(method)
    return Track(label, style, (utility, fairness), path, is_baseline)


def _shows_harm(name: str) -> bool:
    """Whether a metric shows harm: of scores, with a better end, and unbiased by resampling."""
    row = METRICS[name]
    return row.of_scores and row.higher_is_better is not None and not row.resampling_biased


def harm(page: Page) -> dict[str, Any] | None:
    """Who is worse off than with the baseline, and by how much."""
    compared = page.compared
    if compared is None:
        return None
    names = [name for name in page.selected.metrics if _shows_harm(name)] or [page.selected.primary]
    rows = statistics.harm(compared.frame, names)
    if rows.empty:
        return None
    counts = rows["verdict"].value_counts()
    worse = []
    for row in rows[rows["verdict"] == "worse"].itertuples():
        method = Method(row.usage, row.method, row.sensitive)
        pair = compared.pair(method, row.attribute, row.metric, row.group)
        worse.append((method, row.attribute, row.group, metric(row.metric), *pair))
    return {
        "worse": worse,
        "n": len(rows),
        "counts": {key: int(counts.get(key, 0)) for key in ("worse", "better", "unknown")},
        "expected": (1 - page.data.confidence) / 2 * len(rows),
        "reach": [end for name in names if (end := _reach(rows[rows["metric"] == name], name))],
        "tables": _changes(page, compared, names),
        "labels": [metric(name).short for name in names],
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "max_lines": _MAX_LINES,
    }


def _reach(rows: pd.DataFrame, name: str) -> tuple | None:
    """Returns the worst end of any interval of a metric, and the row that it belongs to."""
    ends = rows["difference_low"] if metric(name).higher_is_better else -rows["difference_high"]
    if ends.isna().all():
        return None
    row = rows.loc[ends.idxmin()]
    return metric(name), ends.min() if metric(name).higher_is_better else -ends.min(), row


def _changes(page: Page, compared: Compared, names: list[str]) -> list[tuple]:
    """Returns tables of all differences: usage, attribute, metric, groups, and lines."""
    tables = []
    for usage, attribute in _blocks(page, compared):
        groups = page.selected.groups(attribute)
        methods = [m for m in compared.methods if m.usage == usage and not compared.is_baseline(m)]
        for name in names:
            higher, lines = metric(name).higher_is_better, []
            for method in methods:
                pairs = (compared.pair(method, attribute, name, group) for group in groups)
                lines.append((method, [(d, d.direction(higher)) for _, d in pairs]))
            tables.append((usage, attribute, metric(name), groups, lines))
    return tables


def seeds(page: Page) -> dict[str, Any] | None:
    """The values of every seed, by method."""
    compared, name = page.compared, page.selected.primary
    if compared is None or max(compared.n_seeds.values()) < 2:
        return None
    runs, blocks = Runs(page.data.results, compared, name), []
    for index, (usage, attribute) in enumerate(_blocks(page, compared)):
        among, figures = compared.methods_for(usage, attribute), []
        for group in (OVERALL, GAP):
            rows, reference = [], None
            for method in among:
                values = runs.values(method, attribute, group)["value"].to_numpy()
                if not len(values):
                    continue
                style = page.method_styles[method.method]
                rows.append((compared.label(method, among), style, values))
                if reference is None and compared.is_baseline(method):
                    reference = float(np.median(values))
            if rows:
                label = f"{metric(name).short} {_TITLES[group]}"
                figure = method_figures.seeds(f"seeds{index}-{group}", label, rows, reference)
                figures.append(figure)
        if figures:
            blocks.append((usage, attribute, figures))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None
