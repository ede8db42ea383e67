"""The figures of the report, each a function from numbers to an inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, MaxNLocator

from fairjax.report import curves, svg
from fairjax.report.cells import Cell, decimal, finite, metric, short
from fairjax.report.svg import colour

_MARKERS = "osD^vPX"
_GLYPHS = "●■◆▲▼✚✖"
_MOST_DOTS = 1500
_WIDE = 3.0  # an interval this many times wider than the median one may leave the axis


@dataclass(frozen=True)
class Look:
    """How a group is drawn in every figure: colour, marker, and line style (dashed from the seventh
    group on).
    """

    token: str
    marker: str
    glyph: str
    dash: str | tuple


def looks(groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Look]:
    """Returns the look of each (attribute, group); colours run on over attributes, so that few are
    shared.
    """
    found: dict[tuple[str, str], Look] = {}
    tokens = list(svg.GROUPS)
    for attribute, names in groups.items():
        for place, name in enumerate(names):
            shape = place % len(_MARKERS)
            dash: str | tuple = "-" if place < 6 else (0, (4, 2))
            found[attribute, name] = Look(
                tokens[len(found) % len(tokens)], _MARKERS[shape], _GLYPHS[shape], dash
            )
    return found


def limits(cells: Sequence[Cell]) -> tuple[float, float]:
    """Returns the axis range of a metric: at least 0.1 wide, and within [0, 1] where the numbers
    are.

    It holds all values, and all intervals but those of a few tiny groups, which would squeeze the
    others to dots.
    """
    widths = [cell.high - cell.low for cell in cells if cell.has_interval]
    widest = _WIDE * float(np.median(widths)) if widths else 0.0
    shown = [(c.low, c.high) if c.has_interval and c.high - c.low <= widest else () for c in cells]
    numbers = [c.value for c in cells if c.known] + [end for pair in shown for end in pair]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    pad = max(0.06 * (high - low), (0.1 - (high - low)) / 2)
    return (max(low - pad, 0) if low >= 0 else low - pad), (
        min(high + pad, 1) if high <= 1 else high + pad
    )


def dot_whisker(
    name: str,
    metric_name: str,
    rows: Sequence[tuple[str, Look, Cell]],
    overall: Cell,
    range_: tuple[float, float],
    wide: bool = False,
) -> Markup:
    """One metric: a dot with its interval per group, over the band of the overall value.

    Args:
      name: unique within the page.
      metric_name: a key of `METRICS`.
      rows: label, look and number of each group, from top to bottom.
      overall: the value over all samples whose group is known.
      range_: of the x axis; the same for every attribute, so that panels can be compared.
      wide: leaves room for long labels.
    """
    width, row_height, top, bottom = 540 if wide else 352, 26, 4, 21
    most = 28 if wide else 12
    left, right = max(len(short(label, most)) for label, _, _ in rows) * 6.8 + 14, width - 148
    height = top + bottom + row_height * len(rows)
    with svg.figure(width, height) as fig:
        axes = place_axes(fig, left, bottom, right - left, row_height * len(rows))
        axes.set(xlim=range_, ylim=(len(rows) - 0.5, -0.5))
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(
            MaxNLocator(max(2, int((right - left) / 42)), steps=[1, 2, 5, 10])
        )
        axes.grid(axis="x")
        chance = metric(metric_name).chance
        if chance is not None and range_[0] <= chance <= range_[1]:
            axes.axvline(chance, color=colour("muted"), linewidth=1, linestyle=(0, (2, 2)))
        if overall.known:
            axes.axvspan(overall.low, overall.high, color=colour("line"), alpha=0.6, linewidth=0)
            axes.axvline(overall.value, color=colour("muted"), linewidth=1.2)
        for y, (label, look, cell) in enumerate(rows):
            middle = bottom + row_height * (len(rows) - y - 0.5) - 4
            write(fig, left - 10, middle, short(label, most), ha="right")
            if not cell.known:
                write(
                    fig,
                    left + 4,
                    middle,
                    short(cell.reason, 44),
                    color=colour("muted"),
                    fontstyle="italic",
                    fontsize=11,
                )
                continue
            tint = colour(look.token)
            if cell.has_interval:
                _whisker(axes, cell, y, tint, range_)
            draw_dot(axes, cell.value, y, look)
            write(fig, right + 50, middle, decimal(cell.value), ha="right", fontweight="bold")
            write(fig, right + 55, middle, cell.interval(), color=colour("muted"), fontsize=11)
        said = "; ".join(
            f"{label} {cell.text() if cell.known else cell.reason}" for label, _, cell in rows
        )
        return svg.inline(
            fig, name, f"{metric(metric_name).label} by group: {said}; overall {overall.text()}"
        )


def roc(
    name: str,
    groups: Sequence[tuple[str, Look, tuple[np.ndarray, np.ndarray], tuple[float, float]]],
    overall: tuple[np.ndarray, np.ndarray] | None,
) -> Markup:
    """ROC curve of each group with its operating point.

    Args:
      name: unique within the page.
      groups: label, look, (scores, labels), and (false positive rate, true positive rate) at the
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
        for _, look, samples, _ in groups:
            steps = curves.roc_steps(*samples)
            if steps:
                axes.plot(
                    *steps,
                    color=colour(look.token),
                    linewidth=1.8,
                    linestyle=look.dash,
                    solid_joinstyle="round",
                )
        for _, look, _, point in groups:
            if all(map(finite, point)):
                draw_dot(axes, *point, look, size=9)
        names = ", ".join(label for label, *_ in groups)
        return svg.inline(fig, name, f"ROC curves of {names}; markers show the operating threshold")


def reliability(
    name: str,
    label: str,
    look: Look,
    scores: Float[np.ndarray, " n"],
    labels: Num[np.ndarray, " n"],
    confidence: float,
) -> Markup:
    """Observed frequency against predicted probability of one group, over a histogram of its
    predictions.

    Args:
      name: unique within the page.
      label, look: of the group.
      scores, labels: of its samples.
      confidence: level of the intervals.
    """
    side, left, strip = 216, 52, 34
    bins = curves.calibration_bins(scores, labels, confidence)
    tint = colour(look.token)
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
            draw_dot(axes, x, y, look, size=7)
        pairs = ", ".join(f"{x:.2f}→{y:.2f}" for x, y in zip(bins.mean_score, bins.frequency))
        return svg.inline(
            fig, name, f"Reliability diagram of {label}, predicted → observed: {pairs}"
        )


def runs_scatter(
    name: str,
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    kind: Int[np.ndarray, " runs"],
    tokens: Sequence[str],
    selected: tuple[Cell, Cell],
    labels: tuple[str, str],
) -> Markup:
    """Utility against fairness: a dot per run, the selected run with both intervals.

    Args:
      name: unique within the page.
      x, y: utility and fairness of each run; NaN is left out.
      kind: index into `tokens`, the colour of each run.
      tokens: colours, names in `svg.TOKENS`.
      selected: utility and fairness of the selected run.
      labels: of the axes.
    """
    width, height, left, bottom = 520, 330, 62, 44
    finite_ = np.isfinite(x) & np.isfinite(y)
    x, y, kind = x[finite_], y[finite_], kind[finite_]
    with svg.figure(width, height) as fig:
        axes = place_axes(fig, left, bottom, width - left - 12, height - bottom - 10)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if len(x):
            keep = curves.thinned(x, y, kind, _MOST_DOTS)
            for index, token in enumerate(tokens):
                chosen = keep & (kind == index)
                if chosen.any():
                    axes.add_patch(_cloud(x[chosen], y[chosen], colour(token)))
            axes.update_datalim(np.stack([x, y], 1))
        across, up = selected
        if across.known and up.known:
            ink: dict[str, Any] = {
                "color": colour("ink"),
                "linewidth": 1.6,
                "solid_capstyle": "round",
            }
            if across.has_interval:
                axes.plot([across.low, across.high], [up.value, up.value], **ink)
            if up.has_interval:
                axes.plot([across.value, across.value], [up.low, up.high], **ink)
            star: dict[str, Any] = {
                "color": colour("accent"),
                "markeredgecolor": colour("paper"),
                "markeredgewidth": 1.4,
            }
            axes.plot(across.value, up.value, marker="*", markersize=17, zorder=5, **star)
        axes.autoscale_view()
        said = f"{labels[0]} {across.text()}, {labels[1]} {up.text()}"
        return svg.inline(
            fig, name, f"{labels[1]} against {labels[0]} of {len(x):,} runs; selected run: {said}"
        )


def place_axes(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Adds axes at a place given in CSS pixels."""
    across, up = fig.get_size_inches() * 72
    return fig.add_axes((left / across, bottom / up, width / across, height / up))


def write(fig: Figure, x: float, y: float, text: str, **style) -> None:
    """Writes at a place given in CSS pixels."""
    across, up = fig.get_size_inches() * 72
    fig.text(x / across, y / up, text, **style)


def draw_dot(axes: Axes, x: float, y: float, look: Look, size: float = 8) -> None:
    """Draws a group's marker, edged so that it stands out from lines."""
    edge: dict[str, Any] = {"markeredgecolor": colour("paper"), "markeredgewidth": 0.9}
    size += 0 if look.marker in "os" else 1.5  # a square of the same width has more ink
    axes.plot(
        x,
        y,
        marker=look.marker,
        markersize=size,
        color=colour(look.token),
        clip_on=False,
        zorder=4,
        **edge,
    )


def _whisker(axes: Axes, cell: Cell, y: float, tint: str, range_: tuple[float, float]) -> None:
    """Draws an interval; an arrowhead where it leaves the axis."""
    ends = np.clip([cell.low, cell.high], *range_)
    axes.plot(ends, [y, y], color=tint, linewidth=2, solid_capstyle="round", clip_on=False)
    for end, true, marker in zip(ends, (cell.low, cell.high), "<>"):
        if end != true:
            axes.plot(
                end, y, marker=marker, markersize=6, color=tint, markeredgewidth=0, clip_on=False
            )


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
    """Returns dots as one path of zero-length strokes with round caps: 20 bytes a dot, where a
    marker takes 100.
    """
    points = np.repeat(np.stack([x, y], 1), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x))
    return PathPatch(
        Path(points, codes),
        facecolor="none",
        edgecolor=tint,
        linewidth=6.5,
        alpha=0.75,
        capstyle="round",
    )
