"""Methods compared: their numbers, what fairness costs, who is worse off, and how seeds are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fairjax.metrics.disparity import DISPARITIES
from fairjax.metrics.table import METRICS
from fairjax.report import method_figures
from fairjax.report.cells import finite, metric
from fairjax.report.compared import SHOWN, Compared, Method, Runs
from fairjax.report.method_figures import Track
from fairjax.report.sections.common import Page
from fairjax.report.selected import GAP, OVERALL, WORST
from fairjax.statistics import methods as statistics

_MOST_LINES = 25  # of the first table; the rest is folded
_TITLES = {OVERALL: "overall", WORST: "of the worst group", GAP: "gap between groups"}


def methods(page: Page) -> dict[str, Any] | None:
    """Every method's values and its differences to the baseline, by usage and attribute."""
    compared = page.compared
    if compared is None:
        return None
    blocks = []
    for usage, attribute in _blocks(page, compared):
        among = compared.told(usage, attribute)
        tables = [
            (metric(name), _table(compared, among, attribute, name))
            for name in page.selected.metrics
        ]
        blocks.append((usage, attribute, [table for table in tables if table[1]]))
    if not blocks:
        return None
    settings = {
        name for of in compared.settings.values() for name, value in of.items() if finite(value)
    }
    seeds = sorted(set(compared.n_seeds.values()))
    return {
        "blocks": blocks,
        "compared": compared,
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "has_strength": "strength" in settings,
        "shown": [
            (group, DISPARITIES[group].label if group in DISPARITIES else "Overall")
            for group in SHOWN
        ],
        "seeds": f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}",
        "one_seed": seeds[0] == 1,
    }


def _blocks(page: Page, compared: Compared) -> list[tuple[str, str]]:
    return [
        (usage, attribute) for usage in compared.usages for attribute in page.selected.attributes
    ]


def _table(compared: Compared, among: list[Method], attribute: str, name: str) -> list[tuple]:
    """Rows: method, label, and for each of `SHOWN` the value, the difference, its side, and whether
    it is best.
    """
    higher = metric(name).higher_is_better
    wanted = {OVERALL: higher, WORST: higher, GAP: False}
    best: dict[str, set[Method]] = {
        group: set() if end is None else compared.best(among, attribute, name, group, end)
        for group, end in wanted.items()
    }
    rows = []
    for of in among:
        cells = []
        for group in SHOWN:
            value, difference = compared.pair(of, attribute, name, group)
            cells.append((value, difference, difference.side(wanted[group]), of in best[group]))
        rows.append((of, compared.label(of, among), cells))
    return rows if any(value.known for _, _, cells in rows for value, *_ in cells) else []


def tradeoff(page: Page) -> dict[str, Any] | None:
    """Utility against fairness, with the paths of strengths and the Pareto front."""
    compared, name = page.compared, page.selected.primary
    if compared is None or not metric(name).higher_is_better:
        return None
    runs, blocks = Runs(page.data.results, compared, name), []
    for place, (usage, attribute) in enumerate(_blocks(page, compared)):
        among = compared.told(usage, attribute)
        figures = []
        for group in (GAP, WORST):
            tracks = [_track(page, compared, runs, of, attribute, group) for of in among]
            tracks = [track for track in tracks if np.isfinite(track.point).all()]
            if len(tracks) > 1:
                x, y = (f"{metric(name).short} {_TITLES[of]}" for of in (OVERALL, group))
                arguments = tracks, (x, y), group == WORST
                apart = None
                if sum(len(track.path) > 1 for track in tracks) > method_figures.MOST_PATHS:
                    apart = method_figures.apart(f"apart{place}-{group}", *arguments)
                figures.append(
                    (method_figures.tradeoff(f"trade{place}-{group}", *arguments), apart)
                )
        if figures:
            legend = [(page.method_looks[of.method], compared.label(of, among)) for of in among]
            blocks.append((usage, attribute, figures, legend))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None


def _track(
    page: Page, compared: Compared, runs: Runs, of: Method, attribute: str, group: str
) -> Track:
    values = [
        compared.pair(of, attribute, page.selected.primary, which)[0].value
        for which in (OVERALL, group)
    ]
    path = np.empty((0, 2))
    if "strength" in page.data.results:
        parts = [runs.values(of, attribute, which, free="strength") for which in (OVERALL, group)]
        means = [part.groupby("strength")["value"].mean() for part in parts]
        path = pd.concat(means, axis=1, join="inner").sort_index().to_numpy()
    label = compared.label(of, compared.told(of.usage, attribute))
    return Track(
        label, page.method_looks[of.method], (values[0], values[1]), path, compared.is_baseline(of)
    )


def _shows_harm(name: str) -> bool:
    """Whether harm is read off a metric: of scores, with a better end, and unbiased by resampling."""
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
        of = Method(row.usage, row.method, row.sensitive)
        worse.append(
            (
                of,
                row.attribute,
                row.group,
                metric(row.metric),
                *compared.pair(of, row.attribute, row.metric, row.group),
            )
        )
    return {
        "worse": worse,
        "n": len(rows),
        "counts": {
            verdict: int(counts.get(verdict, 0)) for verdict in ("worse", "better", "unknown")
        },
        "expected": (1 - page.data.confidence) / 2 * len(rows),
        "reach": [end for name in names if (end := _reach(rows[rows["metric"] == name], name))],
        "tables": _changes(page, compared, names),
        "labels": [metric(name).short for name in names],
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "most": _MOST_LINES,
    }


def _reach(rows: pd.DataFrame, name: str) -> tuple | None:
    """The end of an interval that reaches furthest to the worse side, and whose it is."""
    ends = rows["difference_low"] if metric(name).higher_is_better else -rows["difference_high"]
    if ends.isna().all():
        return None
    row = rows.loc[ends.idxmin()]
    return metric(name), ends.min() if metric(name).higher_is_better else -ends.min(), row


def _changes(page: Page, compared: Compared, names: list[str]) -> list[tuple]:
    """Tables of the differences of every method and group: usage, attribute, metric, groups, and
    lines.
    """
    tables = []
    for usage, attribute in _blocks(page, compared):
        groups = page.selected.groups(attribute)
        others = [
            of for of in compared.methods if of.usage == usage and not compared.is_baseline(of)
        ]
        for name in names:
            lines = []
            for of in others:
                pairs = [compared.pair(of, attribute, name, group)[1] for group in groups]
                lines.append(
                    (of, [(pair, pair.side(metric(name).higher_is_better)) for pair in pairs])
                )
            tables.append((usage, attribute, metric(name), groups, lines))
    return tables


def seeds(page: Page) -> dict[str, Any] | None:
    """The values of every seed, by method."""
    compared, name = page.compared, page.selected.primary
    if compared is None or max(compared.n_seeds.values()) < 2:
        return None
    runs, blocks = Runs(page.data.results, compared, name), []
    for place, (usage, attribute) in enumerate(_blocks(page, compared)):
        among, figures = compared.told(usage, attribute), []
        for group in (OVERALL, GAP):
            values = {of: runs.values(of, attribute, group)["value"].to_numpy() for of in among}
            values = {of: found for of, found in values.items() if len(found)}
            rows = [
                (compared.label(of, among), page.method_looks[of.method], found)
                for of, found in values.items()
            ]
            if rows:
                reference = [
                    float(np.median(found))
                    for of, found in values.items()
                    if compared.is_baseline(of)
                ]
                label = f"{metric(name).short} {_TITLES[group]}"
                figures.append(
                    method_figures.seeds(f"seeds{place}-{group}", label, rows, *reference[:1])
                )
        if figures:
            blocks.append((usage, attribute, figures))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None
