"""Methods compared: their numbers, what fairness costs, who is worse off, and how seeds are spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairjax.metrics.disparity import DISPARITIES
from fairjax.report import method_figures
from fairjax.report.cells import finite, metric
from fairjax.report.compared import SHOWN, Compared, Method
from fairjax.report.method_figures import Track
from fairjax.report.sections.common import Page
from fairjax.report.selected import GAP, OVERALL, WORST
from fairjax.statistics import methods as statistics

_HARM = ("auc", "bce")
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
        tables = [(metric(name), _table(compared, among, attribute, name)) for name in page.selected.metrics]
        blocks.append((usage, attribute, [table for table in tables if table[1]]))
    if not blocks:
        return None
    settings = {name for of in compared.settings.values() for name, value in of.items() if finite(value)}
    seeds = sorted(set(compared.n_seeds.values()))
    return {
        "blocks": blocks,
        "compared": compared,
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "has_strength": "strength" in settings,
        "shown": [(group, DISPARITIES[group].label if group in DISPARITIES else "Overall") for group in SHOWN],
        "seeds": f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}",
        "one_seed": seeds[0] == 1,
    }


def _blocks(page: Page, compared: Compared) -> list[tuple[str, str]]:
    return [(usage, attribute) for usage in compared.usages for attribute in page.selected.attributes]


def _table(compared: Compared, among: list[Method], attribute: str, name: str) -> list[tuple]:
    """Rows: method, label, and for each of `SHOWN` the value, the difference, its side, and whether it is best."""
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
    if compared is None:
        return None
    label, blocks = metric(name).short, []
    for place, (usage, attribute) in enumerate(_blocks(page, compared)):
        among = compared.told(usage, attribute)
        figures = []
        for group in (GAP, WORST):
            tracks = [_track(page, compared, of, among, attribute, group) for of in among]
            tracks = [track for track in tracks if np.isfinite(track.point).all()]
            if len(tracks) > 1:
                axes = f"{label} overall", f"{label} {_TITLES[group]}"
                higher = group == WORST and metric(name).higher_is_better is not False
                figures.append(method_figures.tradeoff(f"trade{place}-{group}", tracks, axes, higher))
        if figures:
            legend = [(page.method_looks[of.method], compared.label(of, among)) for of in among]
            blocks.append((usage, attribute, figures, legend))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None


def _track(page: Page, compared: Compared, of: Method, among: list[Method], attribute: str, group: str) -> Track:
    name = page.selected.primary
    x, y = (compared.pair(of, attribute, name, which)[0].value for which in (OVERALL, group))
    path = np.empty((0, 2))
    if "strength" in page.data.results:
        rows = compared.runs(page.data.results, of, free="strength")
        rows = rows[(rows["metric"] == name) & (rows["attribute"] == attribute) & rows["group"].isin([OVERALL, group])]
        means = rows.groupby(["strength", "group"])["value"].mean().unstack()
        path = means.reindex(columns=[OVERALL, group]).dropna().to_numpy()
    return Track(compared.label(of, among), page.method_looks[of.method], (x, y), path, compared.is_baseline(of))


def harm(page: Page) -> dict[str, Any] | None:
    """Who is worse off than with the baseline, and by how much."""
    compared = page.compared
    if compared is None or not compared.baselines:
        return None
    names = [name for name in _HARM if name in page.selected.metrics] or [page.selected.primary]
    rows = statistics.harm(compared.frame, names)
    if rows.empty:
        return None
    worse = rows[rows["verdict"] == "worse"]
    # The ends of intervals that reach furthest to the worse side: what the data cannot exclude.
    reach = []
    for name in names:
        of = rows[(rows["metric"] == name) & rows["difference_low"].notna()]
        if len(of):
            higher = metric(name).higher_is_better
            row = of.loc[of["difference_low"].idxmin() if higher else of["difference_high"].idxmax()]
            reach.append((metric(name), row["difference_low"] if higher else row["difference_high"], row))
    tables = []
    for usage, attribute in _blocks(page, compared):
        groups = page.selected.groups(attribute)
        for name in names:
            lines = []
            for of in compared.methods:
                if of.usage == usage and not compared.is_baseline(of):
                    pairs = [compared.pair(of, attribute, name, group)[1] for group in groups]
                    lines.append((of, [(pair, pair.side(metric(name).higher_is_better)) for pair in pairs]))
            tables.append((usage, attribute, metric(name), groups, lines))
    return {
        "worse": [
            (
                Method(r.usage, r.method, r.sensitive),
                r,
                metric(r.metric),
                *compared.pair(Method(r.usage, r.method, r.sensitive), r.attribute, r.metric, r.group),
            )
            for r in worse.itertuples()
        ],
        "n": len(rows),
        "n_worse": len(worse),
        "n_better": int((rows["verdict"] == "better").sum()),
        "n_unknown": int((rows["verdict"] == "unknown").sum()),
        "expected": (1 - page.data.confidence) / 2 * len(rows),
        "reach": reach,
        "tables": tables,
        "labels": [metric(name).short for name in names],
        "many_usages": len(compared.usages) > 1,
        "baselines": " or ".join(dict.fromkeys(compared.baselines.values())),
        "most": _MOST_LINES,
    }


def seeds(page: Page) -> dict[str, Any] | None:
    """The values of every seed, by method."""
    compared, name, results = page.compared, page.selected.primary, page.data.results
    if compared is None or max(compared.n_seeds.values()) < 2:
        return None
    blocks = []
    for place, (usage, attribute) in enumerate(_blocks(page, compared)):
        among, figures = compared.told(usage, attribute), []
        at = results[(results["metric"] == name) & (results["attribute"] == attribute)]
        for group in (OVERALL, GAP):
            of_group = at[at["group"] == group]
            rows = [(of, compared.runs(of_group, of)["value"].dropna().to_numpy()) for of in among]
            shown = [
                (compared.label(of, among), page.method_looks[of.method], values) for of, values in rows if len(values)
            ]
            if shown:
                reference = next((float(np.median(v)) for of, v in rows if len(v) and compared.is_baseline(of)), None)
                label = f"{metric(name).short} {_TITLES[group]}"
                figures.append(method_figures.seeds(f"seeds{place}-{group}", label, shown, reference))
        if figures:
            blocks.append((usage, attribute, figures))
    return {"blocks": blocks, "many_usages": len(compared.usages) > 1} if blocks else None
