"""The figures of the report, each a function from numbers to an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator

from fairjax.report import curves, svg
from fairjax.report.display import metric
from fairjax.report.drawing import (
    DOTTED,
    Rows,
    Style,
    draw_dot,
    label_width,
    place_axes,
    plane,
    round_ticks,
)
from fairjax.report.estimate import Estimate
from fairjax.report.format import decimal, finite, short
from fairjax.report.svg import colour

_MAX_DOTS = 1500
_WIDE = 3.0  # an interval this many times wider than the median one may leave the axis


def limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Returns the axis range of a metric: at least 0.1 wide, and within [0, 1] if the numbers are.

    It holds all values, and all intervals but those of a few tiny groups, which would squeeze the
    others to dots.
    """
    intervals = [(e.low, e.high) for e in estimates if e.has_interval]
    widest = _WIDE * float(np.median([high - low for low, high in intervals])) if intervals else 0.0
    numbers = [e.value for e in estimates if e.known]
    numbers += [end for low, high in intervals if high - low <= widest for end in (low, high)]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    pad = max(0.06 * (high - low), (0.1 - (high - low)) / 2)
    return (
        max(low - pad, 0) if low >= 0 else low - pad,
        min(high + pad, 1) if high <= 1 else high + pad,
    )


def dot_whisker(
    name: str,
    metric_name: str,
    rows: Sequence[tuple[str, Style, Estimate]],
    *,
    overall: Estimate,
    xlim: tuple[float, float],
    wide: bool = False,
) -> Markup:
    """Draws one metric: a dot with its interval per group, over the band of the overall value.

    Args:
      name: unique within the page.
      metric_name: a key of `METRICS`.
      rows: label, style and number of each group, from top to bottom.
      overall: the value over all samples whose group is known.
      xlim: range of the x axis; the same for every attribute, so that panels can be compared.
      wide: leaves room for long labels.
    """
    width, row_height, top, bottom = 540 if wide else 352, 26, 4, 21
    max_length = 28 if wide else 12
    labels = [label for label, *_ in rows]
    left, right = label_width(labels, max_length, pad=14), width - 148
    display = metric(metric_name)
    with svg.figure(width, top + bottom + row_height * len(rows)) as fig:
        layout = Rows(fig, labels, left, bottom, right - left, row_height, max_length)
        axes = layout.axes(xlim)
        axes.xaxis.set_major_locator(round_ticks(max(2, int((right - left) / 42))))
        _draw_references(axes, overall, display.chance, xlim)
        for row, (_, style, estimate) in enumerate(rows):
            layout.write_label(row)
            if estimate.known:
                _draw_estimate(layout, axes, row, style, estimate, xlim)
            else:
                reason: dict[str, Any] = {"color": colour("muted"), "fontstyle": "italic"}
                layout.write(row, left + 4, short(estimate.reason, 44), fontsize=11, **reason)
        texts = (f"{label} {e.text() if e.known else e.reason}" for label, _, e in rows)
        summary = f"{'; '.join(texts)}; overall {overall.text()}"
        return svg.inline(fig, name, f"{display.label} by group: {summary}")


def _draw_references(
    axes: Axes, overall: Estimate, chance: float | None, xlim: tuple[float, float]
) -> None:
    """Draws the line of chance, and the line and band of the overall value."""
    if chance is not None and xlim[0] <= chance <= xlim[1]:
        axes.axvline(chance, color=colour("muted"), linewidth=1, linestyle=DOTTED)
    if overall.known:
        axes.axvspan(overall.low, overall.high, color=colour("line"), alpha=0.6, linewidth=0)
        axes.axvline(overall.value, color=colour("muted"), linewidth=1.2)


def _draw_estimate(
    layout: Rows, axes: Axes, row: int, style: Style, estimate: Estimate, xlim: tuple[float, float]
) -> None:
    """Draws the dot and the interval of a group, and writes both on the right."""
    right = layout.left + layout.width
    if estimate.has_interval:
        _whisker(axes, estimate, row, colour(style.token), xlim)
    draw_dot(axes, estimate.value, row, style)
    layout.write(row, right + 50, decimal(estimate.value), ha="right", fontweight="bold")
    layout.write(row, right + 55, estimate.interval(), color=colour("muted"), fontsize=11)


def roc(
    name: str,
    groups: Sequence[tuple[str, Style, tuple[np.ndarray, np.ndarray], tuple[float, float]]],
    overall: tuple[np.ndarray, np.ndarray] | None,
) -> Markup:
    """Draws the ROC curve of each group with its operating point.

    Args:
      name: unique within the page.
      groups: label, style, (scores, labels), and (false positive rate, true positive rate) at the
        threshold.
      overall: (scores, labels) of all samples, for a reference curve.
    """
    side, left, bottom = 400, 54, 42
    with svg.figure(side, side) as fig:
        axes = place_axes(fig, left, bottom, side - left - 10, side - bottom - 10)
        _unit_square(
            axes, "False positive rate (1 − specificity)", "True positive rate (sensitivity)"
        )
        steps = curves.roc_steps(*overall) if overall else None
        if steps:
            axes.plot(*steps, color=colour("muted"), linewidth=1.2, linestyle=(0, (1, 1.6)))
        for _, style, samples, _ in groups:
            steps = curves.roc_steps(*samples)
            if steps:
                line: dict[str, Any] = {"linestyle": style.dash, "solid_joinstyle": "round"}
                axes.plot(*steps, color=colour(style.token), linewidth=1.8, **line)
        for _, style, _, point in groups:
            if all(map(finite, point)):
                draw_dot(axes, *point, style, size=9)
        names = ", ".join(label for label, *_ in groups)
        return svg.inline(fig, name, f"ROC curves of {names}; markers show the operating threshold")


def reliability(
    name: str,
    label: str,
    style: Style,
    scores: Float[np.ndarray, " n"],
    labels: Num[np.ndarray, " n"],
    confidence: float,
) -> Markup:
    """Draws observed frequency against predicted probability of a group, over their histogram.

    Args:
      name: unique within the page.
      label: label of the group.
      style: style of the group.
      scores: predicted probabilities of its samples.
      labels: their labels, 0 or 1.
      confidence: level of the intervals.
    """
    side, left, strip = 216, 52, 34
    bins = curves.calibration_bins(scores, labels, confidence)
    tint = colour(style.token)
    with svg.figure(side + left, side + strip + 42) as fig:
        counts = place_axes(fig, left, 36, side - 8, strip)
        edges = np.arange(len(bins.counts)) / len(bins.counts)
        counts.bar(
            edges, bins.counts, width=0.092, align="edge", color=tint, alpha=0.55, linewidth=0
        )
        counts.set(xlim=(0, 1), xlabel="Predicted probability")
        counts.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        counts.xaxis.set_major_formatter("{x:g}")
        counts.yaxis.set_visible(False)
        counts.spines["left"].set_visible(False)
        axes = place_axes(fig, left, 36 + strip + 6, side - 8, side - 8)
        _unit_square(axes, "", "Observed frequency")
        axes.tick_params(labelbottom=False)
        axes.vlines(bins.mean_score, bins.low, bins.high, color=tint, linewidth=1.6, alpha=0.75)
        axes.plot(bins.mean_score, bins.frequency, color=tint, linewidth=1, alpha=0.45)
        for x, y in zip(bins.mean_score, bins.frequency):
            draw_dot(axes, x, y, style, size=7)
        pairs = ", ".join(f"{x:.2f}→{y:.2f}" for x, y in zip(bins.mean_score, bins.frequency))
        return svg.inline(
            fig, name, f"Reliability diagram of {label}, predicted → observed: {pairs}"
        )


def runs_scatter(
    name: str,
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    kind: Int[np.ndarray, " runs"],
    *,
    tokens: Sequence[str],
    selected: tuple[Estimate, Estimate],
    labels: tuple[str, str],
) -> Markup:
    """Draws utility against fairness: a dot per run, the selected run with both intervals.

    Args:
      name: unique within the page.
      x: utility of each run; runs with NaN are left out.
      y: fairness of each run, likewise.
      kind: index into `tokens`, the colour of each run.
      tokens: colours, names in `svg.TOKENS`.
      selected: utility and fairness of the selected run.
      labels: labels of the axes.
    """
    width, height = 520, 330
    known = np.isfinite(x) & np.isfinite(y)
    x, y, kind = x[known], y[known], kind[known]
    with svg.figure(width, height) as fig:
        axes = plane(fig, width, height, labels)
        if len(x):
            keep = curves.thinned(x, y, kind, _MAX_DOTS)
            for index, token in enumerate(tokens):
                drawn = keep & (kind == index)
                if drawn.any():
                    axes.add_patch(_cloud(x[drawn], y[drawn], colour(token)))
            axes.update_datalim(np.stack([x, y], 1))
        across, up = selected
        if across.known and up.known:
            _draw_star(axes, across, up)
        axes.autoscale_view()
        star = f"{labels[0]} {across.text()}, {labels[1]} {up.text()}"
        title = f"{labels[1]} against {labels[0]} of {len(x):,} runs"
        return svg.inline(fig, name, f"{title}; selected run: {star}")


def _draw_star(axes: Axes, across: Estimate, up: Estimate) -> None:
    """Draws the selected run: a star, and its two intervals as a cross."""
    ink: dict[str, Any] = {"color": colour("ink"), "linewidth": 1.6, "solid_capstyle": "round"}
    if across.has_interval:
        axes.plot([across.low, across.high], [up.value, up.value], **ink)
    if up.has_interval:
        axes.plot([across.value, across.value], [up.low, up.high], **ink)
    edge: dict[str, Any] = {"markeredgecolor": colour("paper"), "markeredgewidth": 1.4}
    star: dict[str, Any] = {"marker": "*", "markersize": 17, "zorder": 5}
    axes.plot(across.value, up.value, color=colour("accent"), **star, **edge)


def _whisker(
    axes: Axes, estimate: Estimate, y: float, tint: str, xlim: tuple[float, float]
) -> None:
    """Draws an interval, with an arrowhead where it leaves the axis."""
    ends = np.clip([estimate.low, estimate.high], *xlim)
    axes.plot(ends, [y, y], color=tint, linewidth=2, solid_capstyle="round", clip_on=False)
    for end, true, marker in zip(ends, (estimate.low, estimate.high), "<>"):
        if end != true:
            arrow: dict[str, Any] = {"marker": marker, "markersize": 6, "markeredgewidth": 0}
            axes.plot(end, y, color=tint, clip_on=False, **arrow)


def _unit_square(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Makes both axes [0, 1], with a grid and the diagonal."""
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=xlabel, ylabel=ylabel)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter("{x:g}")
    axes.grid()
    axes.plot([0, 1], [0, 1], color=colour("line"), linewidth=1.2)


def _cloud(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], tint: str) -> PathPatch:
    """Returns dots as one path of zero-length strokes with round caps: 20 bytes a dot, not 100."""
    points = np.repeat(np.stack([x, y], 1), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x))
    stroke: dict[str, Any] = {"edgecolor": tint, "linewidth": 6.5, "capstyle": "round"}
    return PathPatch(Path(points, codes), facecolor="none", alpha=0.75, **stroke)
