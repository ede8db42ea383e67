"""Figures of methods: the trade-off between utility and fairness, and the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes

from fairjax.report import svg
from fairjax.report.drawing import (
    DOTTED,
    Rows,
    Style,
    draw_dot,
    draw_spread,
    label_width,
    place_axes,
    plane,
    round_ticks,
    write,
)
from fairjax.report.format import decimal, short
from fairjax.report.svg import colour
from fairjax.statistics.selection import pareto_front

_MIN_SPAN = 0.02  # of the axis of a figure whose points are all alike
# Paths that can be distinguished in one figure; of more, each also has its own panel.
MAX_PATHS = 6
_FEW_SEEDS = 4  # whose quartiles say nothing
_MAX_LABEL = 24  # letters


class Track(NamedTuple):
    """The position of a method at its selected strength and at others.

    Attributes:
      label: label of the method.
      style: style of the method.
      point: utility and fairness at the selected strength.
      path: (strengths, 2) the same at each strength, in ascending order; empty for a method without
        strengths.
      is_baseline: whether others are compared with it.
    """

    label: str
    style: Style
    point: tuple[float, float]
    path: Float[np.ndarray, "s 2"]
    is_baseline: bool


def tradeoff(
    name: str, tracks: Sequence[Track], labels: tuple[str, str], higher_is_better: bool
) -> Markup:
    """Draws utility against fairness: methods, lines over their strengths, the Pareto front.

    Args:
      name: unique within the page.
      tracks: methods that have both numbers.
      labels: labels of the axes.
      higher_is_better: whether higher is better on the vertical axis, as it is on the horizontal.
    """
    width, height = 520, 360
    selected, every = _points(tracks)
    with svg.figure(width, height) as fig:
        axes = plane(fig, width, height, labels)
        axes.set(**_limits(selected, every))
        _point_to_better(axes, higher_is_better)
        faint = sum(len(track.path) > 1 for track in tracks) > MAX_PATHS
        for track in tracks:
            if track.is_baseline:
                _cross(axes, track)
            _draw_path(axes, track, 0.4 if faint else 1)
            draw_dot(axes, *track.point, track.style, 9)
        _draw_front(axes, every, higher_is_better)
        points = (f"{t.label} {decimal(t.point[0])}, {decimal(t.point[1])}" for t in tracks)
        title = f"{labels[1]} against {labels[0]} by method"
        return svg.inline(fig, name, f"{title}: {'; '.join(points)}")


def apart(name: str, tracks: Sequence[Track], labels: tuple[str, str]) -> Markup:
    """Draws the same with a panel for each method that has a path; the others are grey.

    Args:
      name: unique within the page.
      tracks: methods that have both numbers.
      labels: labels of the axes, which are those of `tradeoff`.
    """
    side, columns, title = 168, 3, 20
    with_path = [track for track in tracks if len(track.path) > 1]
    selected, every = _points(tracks)
    height = -(-len(with_path) // columns) * (side + title)
    grey: dict[str, Any] = {"marker": "o", "markersize": 3.5, "markeredgewidth": 0}
    with svg.figure(columns * (side + 8), height) as fig:
        for index, track in enumerate(with_path):
            row, column = divmod(index, columns)
            left, bottom = column * (side + 8) + 2, height - (row + 1) * (side + title) + 4
            axes = place_axes(fig, left, bottom, side, side)
            axes.set(**_limits(selected, every), xticks=[], yticks=[])
            for other in tracks:
                if other.is_baseline:
                    _cross(axes, other)
                    draw_dot(axes, *other.point, other.style, 7)
            axes.plot(*selected.T, linestyle="", color=colour("muted"), alpha=0.35, **grey)
            _draw_path(axes, track, 1)
            draw_dot(axes, *track.point, track.style, 8)
            write(fig, left + 2, bottom + side + 3, short(track.label, _MAX_LABEL), fontsize=11)
        names = ", ".join(track.label for track in with_path)
        title_text = f"{labels[1]} against {labels[0]}"
        return svg.inline(fig, name, f"{title_text}, a panel for each of {names}")


def _points(tracks: Sequence[Track]) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, "k 2"]]:
    """Returns the selected points of all tracks, and all points with those of the paths."""
    selected = np.array([track.point for track in tracks])
    return selected, np.concatenate([selected, *(track.path for track in tracks)])


def _limits(
    selected: Float[np.ndarray, "t 2"], every: Float[np.ndarray, "k 2"]
) -> dict[str, tuple[float, float]]:
    """Returns the ranges of both axes."""
    return {
        "xlim": _window(selected[:, 0], every[:, 0]),
        "ylim": _window(selected[:, 1], every[:, 1]),
    }


def _window(
    selected: Float[np.ndarray, " m"], every: Float[np.ndarray, " k"]
) -> tuple[float, float]:
    """Returns a range of the selected points, and of others unless they would squeeze these."""
    span = max(float(np.ptp(selected)), _MIN_SPAN)
    near = every[(every >= selected.min() - span) & (every <= selected.max() + span)]
    low, high = float(near.min()), float(near.max())
    pad = max(0.08 * (high - low), (_MIN_SPAN - (high - low)) / 2)
    return low - pad, high + pad


def _point_to_better(axes: Axes, higher_is_better: bool) -> None:
    """Writes in the corner where both axes are at their best."""
    corner, text, up = ((1, 1), "better ↗", -14) if higher_is_better else ((1, 0), "better ↘", 8)
    box: dict[str, Any] = {"facecolor": colour("paper"), "linewidth": 0, "pad": 1.5}
    where: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "xytext": (-6, up),
    }
    axes.annotate(text, corner, ha="right", color=colour("muted"), fontsize=11, bbox=box, **where)


def _draw_front(axes: Axes, every: Float[np.ndarray, "k 2"], higher_is_better: bool) -> None:
    """Draws the Pareto front of all points as steps, with rings around its points."""
    fairness = -every[:, 1] if higher_is_better else every[:, 1]
    front = np.unique(every[pareto_front(every[:, 0], fairness)], axis=0)
    ink = colour("ink")
    steps: dict[str, Any] = {"drawstyle": "steps-pre", "linewidth": 1, "zorder": 3}
    axes.plot(*front.T, color=ink, alpha=0.7, **steps)
    ring: dict[str, Any] = {"marker": "o", "markersize": 12, "markerfacecolor": "none"}
    ring |= {"markeredgecolor": ink, "markeredgewidth": 1}
    axes.plot(*front.T, linestyle="", zorder=5, **ring)


def _cross(axes: Axes, track: Track) -> None:
    """Draws the lines of the baseline's utility and fairness."""
    for line, value in ((axes.axvline, track.point[0]), (axes.axhline, track.point[1])):
        line(value, color=colour("muted"), linewidth=1.1, linestyle=DOTTED, zorder=1)


def _draw_path(axes: Axes, track: Track, opacity: float) -> None:
    """Joins the points of a path, with dots that grow with the strength of the method."""
    if len(track.path) < 2:
        return
    tint = colour(track.style.token)
    line: dict[str, Any] = {"linewidth": 1.4, "solid_joinstyle": "round"}
    axes.plot(*track.path.T, color=tint, alpha=0.6 * opacity, zorder=2, **line)
    areas = np.linspace(2, 6, len(track.path)) ** 2
    x, y = track.path.T
    axes.scatter(x, y, s=areas, color=tint, alpha=0.75 * opacity, linewidths=0, zorder=2)


def seeds(
    name: str,
    label: str,
    rows: Sequence[tuple[str, Style, Float[np.ndarray, " s"]]],
    reference: float | None = None,
) -> Markup:
    """Draws a dot for each seed of each method, with the median and, if not few, the quartiles.

    Args:
      name: unique within the page.
      label: label of the axis.
      rows: label, style and values of each method, from top to bottom.
      reference: the baseline's median, which is marked.
    """
    width, row_height, bottom = 540, 28, 42
    labels = [label for label, *_ in rows]
    left = label_width(labels, _MAX_LABEL)
    every = np.concatenate([values for *_, values in rows])
    pad = 0.04 * max(float(np.ptp(every)), 1e-3)
    with svg.figure(width, bottom + row_height * len(rows) + 6) as fig:
        layout = Rows(fig, labels, left, bottom, width - left - 14, row_height, _MAX_LABEL)
        axes = layout.axes((every.min() - pad, every.max() + pad), label)
        axes.xaxis.set_major_locator(round_ticks())
        if reference is not None:
            axes.axvline(reference, color=colour("muted"), linewidth=1.1, linestyle=DOTTED)
        dots: dict[str, Any] = {"size": 4, "alpha": 0.45, "jitter": 0.28, "bar": 4}
        for row, (_, style, values) in enumerate(rows):
            quartiles = len(values) > _FEW_SEEDS
            draw_spread(axes, row, values, colour(style.token), quartiles=quartiles, **dots)
            layout.write_label(row)
        medians = (f"{of} median {np.median(v):.3f} of {len(v)}" for of, _, v in rows)
        return svg.inline(fig, name, f"{label} by seed: {'; '.join(medians)}")
