"""The sections of the report, in order: each a row of a name, a title, and what its template is given.

The template of section `x` is templates/x.html. A builder that returns None leaves its section out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from fairjax.metrics.disparity import DISPARITIES
from fairjax.report import figures, svg, verdict
from fairjax.report.cells import (
    ALL,
    GAP,
    OVERALL,
    WORST,
    Selected,
    count,
    decimal,
    metric,
)
from fairjax.report.data import ReportData
from fairjax.report.facts import facts, flat
from fairjax.report.tables import distribution, same_settings

SPLITS = ("train", "validation", "test")
_METRICS_PER_TABLE = 6
_LONG_LABEL = 12  # letters: beyond it panels are wide, two to a row
_COLOUR_BY = ("method", "learning_rate", "weight_decay")


@dataclass(frozen=True)
class Page:
    """What sections share: the data, the numbers of the selected run, and how each group looks."""

    data: ReportData

    @cached_property
    def selected(self) -> Selected:
        """The numbers of the selected run."""
        return Selected(self.data.results, self.data.run)

    @cached_property
    def looks(self) -> dict[tuple[str, str], figures.Look]:
        """The look of each (attribute, group)."""
        return figures.looks({attribute: self.selected.groups(attribute) for attribute in self.selected.attributes})


@dataclass(frozen=True)
class Section:
    """One section: anchor and template name, title, and the builder of the template's variables."""

    name: str
    title: str
    build: Callable[[Page], dict[str, Any] | None]


def _what(page: Page) -> dict[str, Any]:
    data, row = page.data, page.selected.row
    n_runs = data.results["run"].nunique()
    run = {key: row[key] for key in ("usage", "method", "learning_rate", "weight_decay", "seed") if key in row}
    run |= {"run": data.run}
    run |= {"selected from": f"{count(n_runs)} runs, on validation data"} if n_runs > 1 else {}
    run |= {"threshold": f"{decimal(data.thresholds['value'])} ({data.thresholds['rule']})"} if data.thresholds else {}
    run |= {"policy": row["policy"]} if "policy" in row else {}
    dataset = {key: value for key, value in data.dataset.items() if key != "quarantined"}
    return {
        "cards": [("Dataset", facts(dataset)), ("Model", facts(data.model)), ("Selected run", facts(run))],
        "quarantined": data.dataset.get("quarantined") or [],
        "command": data.command,
    }


def _cohort(page: Page) -> dict[str, Any] | None:
    cohort = page.data.cohort
    if cohort.empty:
        return None
    splits = [split for split in SPLITS if split in set(cohort["split"])]
    counts = cohort.groupby(["attribute", "group", "split", "label"], sort=False)[["n_images", "n_patients"]].sum()
    lookup = {key: (int(images), int(patients)) for key, images, patients in counts.itertuples()}
    tables = []
    for attribute, rows in cohort.groupby("attribute", sort=False):
        groups = sorted(dict.fromkeys(rows["group"]), key=lambda group: group == "missing")
        lines: list[tuple] = [
            (g, [[lookup.get((attribute, g, s, y), (0, 0)) for y in (0, 1)] for s in splits]) for g in groups
        ]
        total = rows.groupby(["split", "label"])["n_images"].sum().to_dict()
        # Images add up over groups; patients need not.
        lines.append(("total", [[(int(total.get((s, y), 0)), None) for y in (0, 1)] for s in splits]))
        tables.append((attribute, lines))
    names = page.data.dataset.get("classes") or ["negative", "positive"]
    return {"splits": splits, "tables": tables, "class_names": names, "looks": page.looks}


def _groups(page: Page) -> dict[str, Any] | None:
    selected = page.selected
    if not selected.attributes:
        return None
    ranges = {
        name: figures.limits(
            [selected.cell(a, name, g) for a in selected.attributes for g in [OVERALL, *selected.groups(a)]]
        )
        for name in selected.metrics
    }
    blocks = []
    for place, attribute in enumerate(selected.attributes):
        panels = []
        wide = max(map(len, selected.groups(attribute)), default=0) > _LONG_LABEL
        for name in selected.metrics:
            rows = [
                (g, page.looks[attribute, g], selected.cell(attribute, name, g)) for g in selected.groups(attribute)
            ]
            overall = selected.cell(attribute, name, OVERALL)
            figure = figures.dot_whisker(f"w{place}-{name}", name, rows, overall, ranges[name], wide)
            panels.append((metric(name), selected.cell(attribute, name, GAP), figure))
        blocks.append((attribute, panels, wide))
    return {"blocks": blocks}


def _numbers(page: Page) -> dict[str, Any]:
    selected = page.selected
    blocks = []
    for attribute in ([ALL] if selected.has_all else []) + selected.attributes:
        groups = [OVERALL, *selected.groups(attribute), *selected.disparities(attribute)]
        tables = [
            (
                names,
                _lines(selected, attribute, groups, names),
                _lines(selected, attribute, selected.differences(attribute), names),
            )
            for names in _pages(selected.metrics, _METRICS_PER_TABLE)
        ]
        blocks.append((attribute, tables))
    return {"blocks": blocks, "looks": page.looks, "metric": metric, "disparities": DISPARITIES}


def _pages(items: list[str], most: int) -> list[list[str]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _lines(selected: Selected, attribute: str, groups: list[str], names: list[str]) -> list[tuple]:
    return [
        (group, selected.sizes(attribute, group), [selected.cell(attribute, name, group) for name in names])
        for group in groups
    ]


def _roc(page: Page) -> dict[str, Any] | None:
    blocks = []
    for place, (attribute, samples) in enumerate(_curves(page)):
        rows = [
            (g, page.looks[attribute, g], *(page.selected.cell(attribute, m, g) for m in ("auc", "tpr", "tnr")))
            for g in samples
        ]
        drawn = [(g, look, samples[g], (1 - tnr.value, tpr.value)) for g, look, auc, tpr, tnr in rows if auc.known]
        overall = page.data.curves[attribute].get(OVERALL) or page.data.curves.get(ALL, {}).get(OVERALL)
        rows.append((OVERALL, None, *(page.selected.cell(attribute, m, OVERALL) for m in ("auc", "tpr", "tnr"))))
        blocks.append((attribute, figures.roc(f"roc{place}", drawn, overall), rows, overall is not None))
    return {"blocks": blocks} if blocks else None


def _calibration(page: Page) -> dict[str, Any] | None:
    blocks = []
    for place, (attribute, samples) in enumerate(_curves(page)):
        panels = []
        for number, (group, (scores, labels)) in enumerate(samples.items()):
            look = page.looks[attribute, group]
            figure = None
            if len(scores):
                figure = figures.reliability(f"cal{place}-{number}", group, look, scores, labels, page.data.confidence)
            panels.append((group, look, page.selected.cell(attribute, "ece", group), len(scores), figure))
        columns = len(panels) if len(panels) <= 4 else min((4, 3), key=lambda wide: -len(panels) % wide)
        blocks.append((attribute, panels, columns))
    return {"blocks": blocks} if blocks else None


def _curves(page: Page) -> Iterator[tuple[str, dict]]:
    """Yields each attribute that has curves, with the samples of its groups in the order of the results."""
    for attribute in page.selected.attributes:
        samples = page.data.curves.get(attribute, {})
        if samples:
            yield attribute, {group: samples[group] for group in page.selected.groups(attribute) if group in samples}


def _runs(page: Page) -> dict[str, Any] | None:
    results, selected, name = page.data.results, page.selected, page.selected.primary
    rows = results[(results["metric"] == name) & results["group"].isin([OVERALL, GAP, WORST])]
    if rows["run"].nunique() < 2:
        return None
    by = next((key for key in _COLOUR_BY if key in rows and rows[key].nunique() > 1), None)
    kind, legend = _kinds(rows.drop_duplicates("run").set_index("run"), by)
    wide = rows.pivot_table(index="run", columns=["attribute", "group"], values="value", sort=False).reindex(kind.index)
    label, blocks = metric(name).short, []
    for place, attribute in enumerate(selected.attributes):
        x = (attribute, OVERALL)
        pair = []
        for group, title in ((GAP, f"{label} gap between groups"), (WORST, f"{label} of the worst group")):
            if x not in wide or (attribute, group) not in wide:
                continue
            cells = selected.cell(attribute, name, OVERALL), selected.cell(attribute, name, group)
            axes = (f"{label} overall", title)
            points = (wide[x].to_numpy(), wide[attribute, group].to_numpy(), kind.to_numpy())
            tokens = [token for token, _ in legend]
            pair.append(figures.runs_scatter(f"runs{place}-{group}", *points, tokens, cells, axes))
        if pair:
            blocks.append((attribute, pair))
    return {
        "blocks": blocks,
        "legend": legend,
        "by": str(by or "").replace("_", " "),
        "n_runs": len(kind),
        "label": label,
        "spread": _spread(rows, selected),
    }


def _kinds(runs: pd.DataFrame, by: str | None) -> tuple[pd.Series, list[tuple[str, str]]]:
    """Returns the colour index of each run, and (token, label) of each colour: a ramp for numbers, hues for names."""
    if by is None:
        return pd.Series(0, runs.index), [("accent", "all runs")]
    values = runs[by]
    levels = sorted(values.dropna().unique())
    numeric = pd.api.types.is_numeric_dtype(values)
    tokens = list(svg.RAMP if numeric else svg.GROUPS)
    if not numeric:
        labels = {tokens[i % len(tokens)]: str(level) for i, level in enumerate(levels[: len(tokens)])}
        places = {level: i % len(tokens) for i, level in enumerate(levels)}
    else:
        step = max(len(levels) - 1, 1)
        places = {level: round(i * (len(tokens) - 1) / step) for i, level in enumerate(levels)}
        labels = {}
        for i, token in enumerate(tokens):
            ends = [level for level in levels if places[level] == i]
            if ends:
                labels[token] = f"{ends[0]:g}" if len(ends) == 1 else f"{ends[0]:g} – {ends[-1]:g}"
    used = [token for token in tokens if token in labels]
    index = {token: i for i, token in enumerate(used)}
    kind = values.map(lambda level: index[tokens[places[level]]] if pd.notna(level) else 0).astype(int)
    return kind, [(token, labels[token]) for token in used]


def _spread(rows: pd.DataFrame, selected: Selected) -> list[tuple]:
    """Returns attribute, group, the selected run's cell, and the distributions over its seeds and over all runs."""
    over_runs, over_seeds = distribution(rows), distribution(rows[same_settings(rows, selected.row)])
    lines = []
    for attribute, name, group in over_runs.index:
        cell = selected.cell(attribute, name, group)
        lines.append(
            (attribute, group, cell, over_seeds.loc[attribute, name, group], over_runs.loc[attribute, name, group])
        )
    return lines


def _reading(page: Page) -> dict[str, Any]:
    names = page.selected.metrics
    gaps = sum(page.selected.cell(a, m, GAP).known for a in page.selected.attributes for m in names)
    return {"metrics": [metric(name) for name in names], "n_gaps": gaps}


def _settings(page: Page) -> dict[str, Any]:
    return {"tables": [("Settings", flat(page.data.config)), ("Versions and machine", flat(page.data.environment))]}


SECTIONS = (
    Section("what", "What was run", _what),
    Section("cohort", "Who is in the data", _cohort),
    Section("groups", "Performance by group", _groups),
    Section("numbers", "Numbers", _numbers),
    Section("roc", "ROC curves", _roc),
    Section("calibration", "Calibration", _calibration),
    Section("runs", "Utility and fairness", _runs),
    Section("reading", "How to read this page", _reading),
    Section("settings", "Settings and versions", _settings),
)


def header(page: Page) -> dict[str, Any]:
    """Returns what the top of the page says: the verdict, key figures, and what a reader must know."""
    selected = page.selected
    return {
        "headline": verdict.headline(selected),
        "findings": verdict.findings(selected),
        "primary": metric(selected.primary),
        "overall": selected.overall(selected.primary),
        "notes": page.data.notes,
        "without": selected.without_number(),
        "few": verdict.few(selected),
    }
