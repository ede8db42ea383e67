"""Figures of the cases: ROC, calibration, net benefit, and the distribution of values."""

from __future__ import annotations

from typing import Any

from fairjax.report import case_figures, figures
from fairjax.report.display import metric
from fairjax.report.sections.common import Page, by_attribute
from fairjax.report.selected import ALL, OVERALL

_RATES = ("auc", "tpr", "tnr")


def roc(page: Page) -> dict[str, Any] | None:
    """ROC curves by group."""
    curves, selected, blocks = page.data.curves, page.selected, []
    for index, (attribute, samples) in enumerate(by_attribute(page, curves)):
        rows: list[Any] = []
        for group in samples:
            rates = (selected.estimate(attribute, name, group) for name in _RATES)
            rows.append((group, page.styles[attribute, group], *rates))
        drawn = [
            (group, style, samples[group], (1 - tnr.value, tpr.value))
            for group, style, auc, tpr, tnr in rows
            if auc.known
        ]
        overall = curves[attribute].get(OVERALL) or curves.get(ALL, {}).get(OVERALL)
        rates = (selected.estimate(attribute, name, OVERALL) for name in _RATES)
        rows.append((OVERALL, None, *rates))
        figure = figures.roc(f"roc{index}", drawn, overall)
        blocks.append((attribute, figure, rows, overall is not None))
    return {"blocks": blocks} if blocks else None


def calibration(page: Page) -> dict[str, Any] | None:
    """Reliability diagrams by group."""
    blocks = []
    for index, (attribute, samples) in enumerate(by_attribute(page, page.data.curves)):
        panels = []
        for panel, (group, (scores, labels)) in enumerate(samples.items()):
            style = page.styles[attribute, group]
            figure = None
            if len(scores):
                name, confidence = f"cal{index}-{panel}", page.data.confidence
                figure = figures.reliability(name, group, style, scores, labels, confidence)
            ece = page.selected.estimate(attribute, "ece", group)
            panels.append((group, style, ece, len(scores), figure))
        n = len(panels)
        columns = n if n <= 4 else min((4, 3), key=lambda wide: -n % wide)
        blocks.append((attribute, panels, columns))
    return {"blocks": blocks} if blocks else None


def decision(page: Page) -> dict[str, Any] | None:
    """Net benefit over the threshold, by group."""
    blocks = []
    for index, (attribute, samples) in enumerate(by_attribute(page, page.data.curves)):
        groups = [
            (group, page.styles[attribute, group], values)
            for group, values in samples.items()
            if len(values[0])
        ]
        overall = page.data.curves.get(ALL, {}).get(OVERALL)
        if groups and overall and page.selected.criteria:
            threshold = page.data.thresholds.get("value")
            figure = case_figures.decision(f"nb{index}", groups, overall, threshold)
            blocks.append((attribute, figure, groups))
    return {"blocks": blocks} if blocks else None


def distribution(page: Page) -> dict[str, Any] | None:
    """How the values of cases are distributed, by group."""
    selected, blocks = page.selected, []
    for index, (attribute, samples) in enumerate(by_attribute(page, page.data.values)):
        rows = [
            (group, page.styles[attribute, group], values)
            for group, values in samples.items()
            if len(values)
        ]
        if rows:
            blocks.append((attribute, case_figures.strips(f"dist{index}", selected.primary, rows)))
    return {"blocks": blocks, "label": metric(selected.primary).label} if blocks else None
