"""The numbers: by group, all in tables, the criteria of fairness, and models compared."""

from __future__ import annotations

from typing import Any

from fairjax.metrics.disparity import CORE, CRITERIA, DISPARITIES
from fairjax.report import figures
from fairjax.report.cells import Cell, finite, metric
from fairjax.report.sections.common import Page
from fairjax.report.selected import ALL, GAP, OVERALL, Selected

_METRICS_PER_TABLE = 6
_LONG_LABEL = 12  # letters: beyond it panels are wide, two to a row
_MOST_PANELS = 9  # metrics that are drawn; the tables have them all


def groups(page: Page) -> dict[str, Any] | None:
    """A dot with its interval for each group, metric and attribute."""
    selected = page.selected
    if not selected.attributes:
        return None
    drawn = selected.metrics[:_MOST_PANELS]
    ranges = {
        name: figures.limits(
            [
                selected.cell(a, name, g)
                for a in selected.attributes
                for g in [OVERALL, *selected.groups(a)]
            ]
        )
        for name in drawn
    }
    blocks = []
    for place, attribute in enumerate(selected.attributes):
        panels = []
        wide = max(map(len, selected.groups(attribute)), default=0) > _LONG_LABEL
        for name in drawn:
            rows = [
                (g, page.looks[attribute, g], selected.cell(attribute, name, g))
                for g in selected.groups(attribute)
            ]
            overall = selected.cell(attribute, name, OVERALL)
            figure = figures.dot_whisker(
                f"w{place}-{name}", name, rows, overall, ranges[name], wide
            )
            panels.append((metric(name), selected.cell(attribute, name, GAP), figure))
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
    return {"blocks": blocks, "looks": page.looks, "metric": metric, "disparities": DISPARITIES}


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
        of = Selected(page.data.results, model)
        table.append(
            (model, of.overall(name), [of.cell(attribute, name, GAP) for attribute in attributes])
        )
    shown = {(ALL, OVERALL)} | {
        (a, g) for a in attributes for g in [OVERALL, *page.selected.groups(a)]
    }
    by_metric: dict[str, list[tuple]] = {}
    for row in page.data.comparisons.itertuples():  # type: ignore[union-attr]
        if (row.attribute, row.group) in shown:
            cell = Cell(
                row.value, row.ci_low, row.ci_high, row.n, row.n_positive, row.status, row.n_invalid
            )
            p_values = row.p_value, row.p_holm, row.p_bh
            by_metric.setdefault(row.metric, []).append(
                (row.a, row.b, row.attribute, row.group, cell, p_values)
            )
    order = [metric_name for metric_name in page.selected.metrics if metric_name in by_metric]
    tables = [(metric(metric_name), by_metric[metric_name]) for metric_name in order]
    tested = any(finite(p) for _, rows in tables for *_, p_values in rows for p in p_values)
    return {
        "metric": metric(name),
        "attributes": attributes,
        "table": table,
        "tables": tables,
        "tested": tested,
    }


def _pages(items: list[str], most: int) -> list[list[str]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _lines(selected: Selected, attribute: str, groups: list[str], names: list[str]) -> list[tuple]:
    return [
        (
            group,
            selected.sizes(attribute, group),
            [selected.cell(attribute, name, group) for name in names],
        )
        for group in groups
    ]
