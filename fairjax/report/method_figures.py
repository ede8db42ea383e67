"""Figures of methods: the trade-off between utility and fairness, and how seeds are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fairjax.report import svg
from fairjax.report.cells import decimal, short
from fairjax.report.figures import Look, draw_dot, place_axes, write
from fairjax.report.svg import colour
from fairjax.statistics.selection import pareto_front

_NARROWEST = 0.02  # axis of a figure of which all points are alike
MOST_PATHS = (
    6  # beyond it they are faint where all are drawn together, and each has a panel of its own
)
_FEW_SEEDS = 4  # whose quartiles say nothing


class Track(NamedTuple):
    """A method: where it stands, and where it would at other strengths.

    Attributes:
      label, look: of the method.
      point: utility and fairness at the selected strength.
      path: (strengths, 2) the same at each strength, in ascending order; of a method without
        strengths, none.
      is_baseline: whether others are compared with it.
    """

    label: str
    look: Look
    point: tuple[float, float]
    path: Float[np.ndarray, "s 2"]
    is_baseline: bool


def tradeoff(
    name: str, tracks: Sequence[Track], labels: tuple[str, str], higher_is_better: bool
) -> Markup:
    """Utility against fairness: each method a marker, its strengths a line, the Pareto front of all
    of them as steps.

    Args:
      name: unique within the page.
      tracks: of the methods that have both numbers.
      labels: of the axes.
      higher_is_better: of the vertical axis; of the horizontal one it is.
    """
    width, height, left, bottom = 520, 360, 62, 44
    chosen = np.array([track.point for track in tracks])
    every = np.concatenate([chosen, *(track.path for track in tracks)])
    with svg.figure(width, height) as fig:
        axes = place_axes(fig, left, bottom, width - left - 12, height - bottom - 10)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.set(xlim=_window(chosen[:, 0], every[:, 0]), ylim=_window(chosen[:, 1], every[:, 1]))
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        corner = (1, 1) if higher_is_better else (1, 0)
        axes.annotate(
            "better ↗" if higher_is_better else "better ↘",
            corner,
            (-6, -14 if higher_is_better else 8),
            "axes fraction",
            "offset points",
            ha="right",
            color=colour("muted"),
            fontsize=11,
            bbox={"facecolor": colour("paper"), "linewidth": 0, "pad": 1.5},
        )
        faint = sum(len(track.path) > 1 for track in tracks) > MOST_PATHS
        for track in tracks:
            if track.is_baseline:
                _cross(axes, track)
            _draw_path(axes, track, 0.4 if faint else 1)
            draw_dot(axes, *track.point, track.look, 9)
        front = every[pareto_front(every[:, 0], -every[:, 1] if higher_is_better else every[:, 1])]
        front = np.unique(front, axis=0)
        steps: dict[str, Any] = {
            "color": colour("ink"),
            "linewidth": 1,
            "alpha": 0.7,
            "drawstyle": "steps-pre",
            "zorder": 3,
        }
        axes.plot(*front.T, **steps)
        ring: dict[str, Any] = {
            "marker": "o",
            "markersize": 12,
            "markerfacecolor": "none",
            "markeredgecolor": colour("ink"),
        }
        axes.plot(*front.T, linestyle="", markeredgewidth=1, zorder=5, **ring)
        said = "; ".join(
            f"{track.label} {decimal(track.point[0])}, {decimal(track.point[1])}"
            for track in tracks
        )
        return svg.inline(fig, name, f"{labels[1]} against {labels[0]} by method: {said}")


def apart(
    name: str, tracks: Sequence[Track], labels: tuple[str, str], higher_is_better: bool
) -> Markup:
    """The same, with a panel for each method that has a path; the others are grey.

    Args:
      name, tracks, labels, higher_is_better: as in `tradeoff`, which has the same axes.
    """
    side, columns, title = 168, 3, 20
    with_path = [track for track in tracks if len(track.path) > 1]
    chosen = np.array([track.point for track in tracks])
    every = np.concatenate([chosen, *(track.path for track in tracks)])
    n_rows = -(-len(with_path) // columns)
    height = n_rows * (side + title)
    with svg.figure(columns * (side + 8), height) as fig:
        for place, track in enumerate(with_path):
            row, column = divmod(place, columns)
            left, bottom = column * (side + 8) + 2, height - (row + 1) * (side + title) + 4
            axes = place_axes(fig, left, bottom, side, side)
            axes.set(
                xlim=_window(chosen[:, 0], every[:, 0]), ylim=_window(chosen[:, 1], every[:, 1])
            )
            axes.set(xticks=[], yticks=[])
            for other in tracks:
                if other.is_baseline:
                    _cross(axes, other)
                    draw_dot(axes, *other.point, other.look, 7)
            grey: dict[str, Any] = {
                "marker": "o",
                "linestyle": "",
                "markersize": 3.5,
                "markeredgewidth": 0,
            }
            axes.plot(*chosen.T, color=colour("muted"), alpha=0.35, **grey)
            _draw_path(axes, track, 1)
            draw_dot(axes, *track.point, track.look, 8)
            write(fig, left + 2, bottom + side + 3, short(track.label, 24), fontsize=11)
        names = ", ".join(track.label for track in with_path)
        return svg.inline(
            fig, name, f"{labels[1]} against {labels[0]}, a panel for each of {names}"
        )


def _cross(axes: Axes, track: Track) -> None:
    for line, at in ((axes.axvline, track.point[0]), (axes.axhline, track.point[1])):
        line(at, color=colour("muted"), linewidth=1.1, linestyle=(0, (2, 2)), zorder=1)


def _draw_path(axes: Axes, track: Track, strength: float) -> None:
    """Joins the points of a path, with dots that grow with the strength of the method."""
    if len(track.path) > 1:
        tint = colour(track.look.token)
        axes.plot(
            *track.path.T,
            color=tint,
            linewidth=1.4,
            alpha=0.6 * strength,
            zorder=2,
            solid_joinstyle="round",
        )
        areas = np.linspace(2, 6, len(track.path)) ** 2
        x, y = track.path.T
        axes.scatter(x, y, s=areas, color=tint, alpha=0.75 * strength, linewidths=0, zorder=2)


def _window(chosen: Float[np.ndarray, " m"], every: Float[np.ndarray, " k"]) -> tuple[float, float]:
    """Returns an axis that holds the chosen points, and of the others those that do not squeeze
    these.
    """
    span = max(float(np.ptp(chosen)), _NARROWEST)
    near = every[(every >= chosen.min() - span) & (every <= chosen.max() + span)]
    low, high = float(near.min()), float(near.max())
    pad = max(0.08 * (high - low), (_NARROWEST - (high - low)) / 2)
    return low - pad, high + pad


def seeds(
    name: str,
    label: str,
    rows: Sequence[tuple[str, Look, Float[np.ndarray, " s"]]],
    reference: float | None = None,
) -> Markup:
    """A dot for each seed of each method, with the median and, of more than a few, the quartiles.

    Args:
      name: unique within the page.
      label: of the axis.
      rows: label, look and values of each method, from top to bottom.
      reference: the baseline's median, which is marked.
    """
    width, row_height, bottom = 540, 28, 42
    left = max(len(short(of, 24)) for of, *_ in rows) * 6.8 + 18
    every = np.concatenate([values for *_, values in rows])
    pad = 0.04 * max(float(np.ptp(every)), 1e-3)
    with svg.figure(width, bottom + row_height * len(rows) + 6) as fig:
        axes = place_axes(fig, left, bottom, width - left - 14, row_height * len(rows))
        axes.set(
            xlim=(every.min() - pad, every.max() + pad), ylim=(len(rows) - 0.5, -0.5), xlabel=label
        )
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.grid(axis="x")
        if reference is not None:
            axes.axvline(reference, color=colour("muted"), linewidth=1.1, linestyle=(0, (2, 2)))
        for y, (of, look, values) in enumerate(rows):
            tint, jitter = (
                colour(look.token),
                np.random.default_rng(0).uniform(-0.28, 0.28, len(values)),
            )
            dots: dict[str, Any] = {
                "marker": "o",
                "markersize": 4,
                "linestyle": "",
                "markeredgewidth": 0,
                "alpha": 0.45,
            }
            axes.plot(values, y + jitter, color=tint, **dots)
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            if len(values) > _FEW_SEEDS:
                axes.plot(
                    [low, high], [y, y], color=tint, linewidth=4, solid_capstyle="butt", alpha=0.9
                )
            axes.plot([middle, middle], [y - 0.32, y + 0.32], color=colour("ink"), linewidth=2)
            write(
                fig,
                left - 10,
                bottom + row_height * (len(rows) - y - 0.5) - 4,
                short(of, 24),
                ha="right",
            )
        said = "; ".join(
            f"{of} median {np.median(values):.3f} of {len(values)}" for of, _, values in rows
        )
        return svg.inline(fig, name, f"{label} by seed: {said}")
