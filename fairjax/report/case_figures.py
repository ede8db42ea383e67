"""Figures of the cases themselves: decision curves, and strips of values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from fairjax.report import curves, svg
from fairjax.report.cells import metric, short
from fairjax.report.figures import Look, draw_dot, place_axes, write
from fairjax.report.svg import colour

Cases = tuple[np.ndarray, np.ndarray]  # scores and labels
_MOST_DOTS = 400  # of a group


def decision(
    name: str, groups: Sequence[tuple[str, Look, Cases]], overall: Cases, threshold: float | None
) -> Markup:
    """Net benefit of each group over the threshold probability, between treating everybody and
    nobody.

    Args:
      name: unique within the page.
      groups: label, look, and (scores, labels).
      overall: (scores, labels) of all cases, of whom the reference of treating everybody is drawn.
      threshold: of the decision, which is marked.

    Source: Vickers & Elkin 2006, Decision curve analysis.
    """
    side, height, left, bottom = 520, 330, 62, 44
    with svg.figure(side, height) as fig:
        axes = place_axes(fig, left, bottom, side - left - 12, height - bottom - 10)
        axes.set(xlabel="Threshold probability", ylabel="Net benefit")
        axes.grid()
        grid = curves.DECISION_GRID
        everybody = curves.net_benefit(np.ones(len(overall[1])), overall[1], grid)
        axes.plot(grid, everybody, color=colour("muted"), linewidth=1.2, linestyle=(0, (1, 1.6)))
        axes.axhline(0, color=colour("muted"), linewidth=1)
        highest = 0.0
        for _, look, (scores, labels) in groups:
            benefit = curves.net_benefit(scores, labels, grid)
            highest = max(highest, benefit.max())
            axes.plot(grid, benefit, color=colour(look.token), linewidth=1.8, linestyle=look.dash)
            if threshold is not None and 0 < threshold < 1:
                at = curves.net_benefit(scores, labels, np.array([threshold]))[0]
                if at > -0.25 * highest:
                    draw_dot(axes, threshold, at, look)
        axes.set(xlim=(0, 1), ylim=(-0.25 * max(highest, 0.04), 1.08 * max(highest, 0.04)))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        labels_ = ", ".join(label for label, *_ in groups)
        return svg.inline(fig, name, f"Net benefit over the threshold probability of {labels_}")


def strips(
    name: str, metric_name: str, rows: Sequence[tuple[str, Look, Float[np.ndarray, " n"]]]
) -> Markup:
    """The values of every group as dots, with the median and the quartiles.

    Args:
      name: unique within the page.
      metric_name: what the values are, a key of `METRICS`.
      rows: label, look and values of each group, from top to bottom.
    """
    width, row_height, bottom = 540, 44, 42
    left = max(len(short(label, 28)) for label, *_ in rows) * 6.8 + 18
    height = bottom + row_height * len(rows) + 6
    every = np.concatenate([values for *_, values in rows])
    pad = 0.03 * max(float(np.ptp(every)), 1e-3)
    with svg.figure(width, height) as fig:
        axes = place_axes(fig, left, bottom, width - left - 14, row_height * len(rows))
        axes.set(xlim=(every.min() - pad, every.max() + pad), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xlabel(metric(metric_name).label)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        for y, (label, look, values) in enumerate(rows):
            tint, rng = colour(look.token), np.random.default_rng(0)
            dots = (
                values
                if len(values) <= _MOST_DOTS
                else rng.choice(values, _MOST_DOTS, replace=False)
            )
            jitter = rng.uniform(-0.3, 0.3, len(dots))
            axes.plot(
                dots,
                y + jitter,
                marker="o",
                markersize=3,
                linestyle="",
                color=tint,
                alpha=0.35,
                markeredgewidth=0,
            )
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            axes.plot(
                [low, high], [y, y], color=tint, linewidth=5, solid_capstyle="butt", alpha=0.9
            )
            axes.plot([middle, middle], [y - 0.34, y + 0.34], color=colour("ink"), linewidth=2)
            write(
                fig,
                left - 10,
                bottom + row_height * (len(rows) - y - 0.5) - 4,
                short(label, 28),
                ha="right",
            )
        said = "; ".join(f"{label} median {np.median(values):.3f}" for label, _, values in rows)
        return svg.inline(
            fig, name, f"Distribution of {metric(metric_name).label} by group: {said}"
        )
