"""Figures of the cases themselves: ROC, calibration, net benefit, and how values are distributed."""

from __future__ import annotations

from typing import Any

from fairjax.report import case_figures, figures
from fairjax.report.cells import metric
from fairjax.report.sections.common import Page, by_attribute
from fairjax.report.selected import ALL, OVERALL


def roc(page: Page) -> dict[str, Any] | None:
    """ROC curves by group."""
    blocks = []
    for place, (attribute, samples) in enumerate(by_attribute(page, page.data.curves)):
        rows: list[Any] = [
            (
                g,
                page.looks[attribute, g],
                *(page.selected.cell(attribute, m, g) for m in ("auc", "tpr", "tnr")),
            )
            for g in samples
        ]
        drawn = [
            (g, look, samples[g], (1 - tnr.value, tpr.value))
            for g, look, auc, tpr, tnr in rows
            if auc.known
        ]
        overall = page.data.curves[attribute].get(OVERALL) or page.data.curves.get(ALL, {}).get(
            OVERALL
        )
        rows.append(
            (
                OVERALL,
                None,
                *(page.selected.cell(attribute, m, OVERALL) for m in ("auc", "tpr", "tnr")),
            )
        )
        blocks.append(
            (attribute, figures.roc(f"roc{place}", drawn, overall), rows, overall is not None)
        )
    return {"blocks": blocks} if blocks else None


def calibration(page: Page) -> dict[str, Any] | None:
    """Reliability diagrams by group."""
    blocks = []
    for place, (attribute, samples) in enumerate(by_attribute(page, page.data.curves)):
        panels = []
        for number, (group, (scores, labels)) in enumerate(samples.items()):
            look = page.looks[attribute, group]
            figure = None
            if len(scores):
                figure = figures.reliability(
                    f"cal{place}-{number}", group, look, scores, labels, page.data.confidence
                )
            panels.append(
                (group, look, page.selected.cell(attribute, "ece", group), len(scores), figure)
            )
        columns = (
            len(panels) if len(panels) <= 4 else min((4, 3), key=lambda wide: -len(panels) % wide)
        )
        blocks.append((attribute, panels, columns))
    return {"blocks": blocks} if blocks else None


def decision(page: Page) -> dict[str, Any] | None:
    """Net benefit over the threshold, by group."""
    blocks = []
    for place, (attribute, samples) in enumerate(by_attribute(page, page.data.curves)):
        groups = [
            (group, page.looks[attribute, group], values)
            for group, values in samples.items()
            if len(values[0])
        ]
        overall = page.data.curves.get(ALL, {}).get(OVERALL)
        if groups and overall and page.selected.criteria:
            threshold = page.data.thresholds.get("value")
            blocks.append(
                (attribute, case_figures.decision(f"nb{place}", groups, overall, threshold), groups)
            )
    return {"blocks": blocks} if blocks else None


def distribution(page: Page) -> dict[str, Any] | None:
    """How the values of cases are distributed, by group."""
    selected, blocks = page.selected, []
    for place, (attribute, samples) in enumerate(by_attribute(page, page.data.values)):
        rows = [
            (group, page.looks[attribute, group], values)
            for group, values in samples.items()
            if len(values)
        ]
        if rows:
            blocks.append((attribute, case_figures.strips(f"dist{place}", selected.primary, rows)))
    return {"blocks": blocks, "label": metric(selected.primary).label} if blocks else None
