"""The numbers: by group, all in tables, the criteria of fairness, and models compared."""

from __future__ import annotations

from typing import Any

from fairjax.metrics.disparity import CORE, CRITERIA, DISPARITIES
from fairjax.report import figures
from fairjax.report.display import metric
from fairjax.report.estimate import Estimate
from fairjax.report.format import finite
from fairjax.report.sections.common import Page
from fairjax.report.selected import ALL, GAP, OVERALL, Selected

_METRICS_PER_TABLE = 6
_LONG_LABEL = 12  # letters: beyond it panels are wide, two to a row
_MAX_PANELS = 9  # metrics that are drawn; the tables have them all


def groups(page: Page) -> dict[str, Any] | None:
    """A dot with its interval for each group, metric and attribute."""
    selected = page.selected
    if not selected.attributes:
        return None
    drawn = selected.metrics[:_MAX_PANELS]
    shown = [(a, g) for a in selected.attributes for g in (OVERALL, *selected.groups(a))]
    limits = {
        name: figures.limits([selected.estimate(a, name, g) for a, g in shown]) for name in drawn
    }
    blocks = []
    for index, attribute in enumerate(selected.attributes):
        panels = []
        groups = selected.groups(attribute)
        wide = max(map(len, groups), default=0) > _LONG_LABEL
        for name in drawn:
            rows = [
                (group, page.styles[attribute, group], selected.estimate(attribute, name, group))
                for group in groups
            ]
            figure = figures.dot_whisker(
                f"w{index}-{name}",
                name,
                rows,
                overall=selected.estimate(attribute, name, OVERALL),
                xlim=limits[name],
                wide=wide,
            )
            panels.append((metric(name), selected.estimate(attribute, name, GAP), figure))
        blocks.append((attribute, panels, wide, selected.hidden(attribute)))
    return {"blocks": blocks, "undrawn": len(selected.metrics) - len(drawn)}


def numbers(page: Page) -> dict[str, Any]:
    """Every number in tables of a few metrics."""
    selected = page.selected
    blocks = []
    for attribute in ([ALL] if selected.has_all else []) + selected.attributes:
        found = selected.disparities(attribute)
        rows = [OVERALL, *selected.groups(attribute), *(name for name in found if name in CORE)]
        tables = [
            (
                names,
                _lines(selected, attribute, rows, names),
                _lines(selected, attribute, [name for name in found if name not in CORE], names),
                _lines(selected, attribute, selected.differences(attribute), names),
            )
            for names in _pages(selected.metrics, _METRICS_PER_TABLE)
        ]
        blocks.append((attribute, tables, selected.hidden(attribute)))
    return {"blocks": blocks, "styles": page.styles, "metric": metric, "disparities": DISPARITIES}


def criteria(page: Page) -> dict[str, Any] | None:
    """The named criteria of fairness, by attribute."""
    found = page.selected.criteria
    if not found:
        return None
    attributes = page.selected.attributes
    rows = [
        (CRITERIA[name], [found[name].get(attribute) for attribute in attributes])
        for name in CRITERIA
        if name in found
    ]
    return {"rows": rows, "attributes": attributes}


def models(page: Page) -> dict[str, Any] | None:
    """Every model's overall value and gaps, and the differences between models."""
    if not page.models:
        return None
    name, attributes = page.selected.primary, page.selected.attributes
    table = []
    for model in page.models:
        selected = Selected(page.data.results, model)
        gaps = [selected.estimate(attribute, name, GAP) for attribute in attributes]
        table.append((model, selected.overall(name), gaps))
    groups = {(a, g) for a in attributes for g in (OVERALL, *page.selected.groups(a))}
    shown = {(ALL, OVERALL)} | groups
    by_metric: dict[str, list[tuple]] = {}
    for row in page.data.comparisons.itertuples():  # type: ignore[union-attr]
        if (row.attribute, row.group) in shown:
            ends = row.value, row.ci_low, row.ci_high
            estimate = Estimate(*ends, row.n, row.n_positive, row.status, row.n_invalid)
            p_values = row.p_value, row.p_holm, row.p_bh
            pair = row.a, row.b, row.attribute, row.group
            by_metric.setdefault(row.metric, []).append((*pair, estimate, p_values))
    tables = [(metric(key), by_metric[key]) for key in page.selected.metrics if key in by_metric]
    tested = any(finite(p) for _, rows in tables for *_, p_values in rows for p in p_values)
    return {
        "metric": metric(name),
        "attributes": attributes,
        "table": table,
        "tables": tables,
        "tested": tested,
    }


def _pages(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _lines(selected: Selected, attribute: str, groups: list[str], names: list[str]) -> list[tuple]:
    lines = []
    for group in groups:
        estimates = [selected.estimate(attribute, name, group) for name in names]
        lines.append((group, selected.sizes(attribute, group), estimates))
    return lines
