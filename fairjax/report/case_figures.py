"""Figures of single cases: decision curves, and strips of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from fairjax.report import curves, svg
from fairjax.report.display import metric
from fairjax.report.drawing import Rows, Style, draw_dot, draw_spread, label_width, plane
from fairjax.report.svg import colour

Cases = tuple[np.ndarray, np.ndarray]  # scores and labels
_MAX_DOTS = 400  # per group
_MAX_LABEL = 28  # letters


def decision(
    name: str, groups: Sequence[tuple[str, Style, Cases]], overall: Cases, threshold: float | None
) -> Markup:
    """Draws net benefit over the threshold probability, with treating all and treating none.

    Args:
      name: unique within the page.
      groups: label, style, and (scores, labels).
      overall: (scores, labels) of all cases, for the curve of treating all.
      threshold: threshold of the decision, which is marked.

    Source: Vickers & Elkin 2006, Decision curve analysis.
    """
    width, height = 520, 330
    with svg.figure(width, height) as fig:
        axes = plane(fig, width, height, ("Threshold probability", "Net benefit"))
        grid = curves.DECISION_GRID
        treat_all = curves.net_benefit(np.ones(len(overall[1])), overall[1], grid)
        axes.plot(grid, treat_all, color=colour("muted"), linewidth=1.2, linestyle=(0, (1, 1.6)))
        axes.axhline(0, color=colour("muted"), linewidth=1)
        highest = 0.0
        for _, style, (scores, labels) in groups:
            benefit = curves.net_benefit(scores, labels, grid)
            highest = max(highest, benefit.max())
            axes.plot(grid, benefit, color=colour(style.token), linewidth=1.8, linestyle=style.dash)
            if threshold is not None and 0 < threshold < 1:
                marked = curves.net_benefit(scores, labels, np.array([threshold]))[0]
                if marked > -0.25 * highest:
                    draw_dot(axes, threshold, marked, style)
        axes.set(xlim=(0, 1), ylim=(-0.25 * max(highest, 0.04), 1.08 * max(highest, 0.04)))
        names = ", ".join(label for label, *_ in groups)
        return svg.inline(fig, name, f"Net benefit over the threshold probability of {names}")


def strips(
    name: str, metric_name: str, rows: Sequence[tuple[str, Style, Float[np.ndarray, " n"]]]
) -> Markup:
    """Draws the values of every group as dots, with the median and the quartiles.

    Args:
      name: unique within the page.
      metric_name: what the values are, a key of `METRICS`.
      rows: label, style and values of each group, from top to bottom.
    """
    width, row_height, bottom = 540, 44, 42
    labels = [label for label, *_ in rows]
    left = label_width(labels, _MAX_LABEL)
    every = np.concatenate([values for *_, values in rows])
    pad = 0.03 * max(float(np.ptp(every)), 1e-3)
    with svg.figure(width, bottom + row_height * len(rows) + 6) as fig:
        layout = Rows(fig, labels, left, bottom, width - left - 14, row_height, _MAX_LABEL)
        axes = layout.axes((every.min() - pad, every.max() + pad), metric(metric_name).label)
        dots: dict[str, Any] = {"size": 3, "alpha": 0.35, "jitter": 0.3, "bar": 5}
        for row, (_, style, values) in enumerate(rows):
            draw_spread(axes, row, values, colour(style.token), max_dots=_MAX_DOTS, **dots)
            layout.write_label(row)
        medians = "; ".join(f"{label} median {np.median(values):.3f}" for label, _, values in rows)
        title = f"Distribution of {metric(metric_name).label} by group"
        return svg.inline(fig, name, f"{title}: {medians}")
