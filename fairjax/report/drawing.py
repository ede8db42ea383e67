"""Parts that figures share: styles of groups, axes placed in CSS pixels, dots, rows of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fairjax.report import svg
from fairjax.report.format import short
from fairjax.report.svg import colour

DOTTED = (0, (2, 2))
_MARKERS = "osD^vPX"
_GLYPHS = "●■◆▲▼✚✖"
_LETTER = 6.8  # pixels per letter of a label


@dataclass(frozen=True)
class Style:
    """How a group is drawn in every figure.

    Attributes:
      token: colour, a name in `svg.TOKENS`.
      marker: matplotlib's marker.
      glyph: the same marker as a letter, for legends in HTML.
      dash: line style, dashed from the seventh group of an attribute on.
    """

    token: str
    marker: str
    glyph: str
    dash: str | tuple


def styles(groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Style]:
    """Returns a style for each (attribute, group), with as few shared colours as possible."""
    found: dict[tuple[str, str], Style] = {}
    tokens = list(svg.GROUPS)
    for attribute, names in groups.items():
        for index, name in enumerate(names):
            shape = index % len(_MARKERS)
            found[attribute, name] = Style(
                token=tokens[len(found) % len(tokens)],
                marker=_MARKERS[shape],
                glyph=_GLYPHS[shape],
                dash="-" if index < 6 else (0, (4, 2)),
            )
    return found


def round_ticks(max_ticks: int = 6) -> MaxNLocator:
    """Returns a locator of ticks at 1, 2, 5 or 10 times a power of ten."""
    return MaxNLocator(max_ticks, steps=[1, 2, 5, 10])


def place_axes(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Adds axes at a position in CSS pixels."""
    across, up = fig.get_size_inches() * 72
    return fig.add_axes((left / across, bottom / up, width / across, height / up))


def plane(fig: Figure, width: float, height: float, labels: tuple[str, str]) -> Axes:
    """Adds axes that fill a figure of `width` × `height` pixels, with a grid and labels (x, y)."""
    left, bottom = 62, 44
    axes = place_axes(fig, left, bottom, width - left - 12, height - bottom - 10)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.grid()
    axes.xaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_locator(round_ticks())
    return axes


def label_width(labels: Sequence[str], max_length: int, pad: float = 18) -> float:
    """Returns the pixels that labels, cut to `max_length` letters, and a space take."""
    return max(len(short(label, max_length)) for label in labels) * _LETTER + pad


@dataclass(frozen=True)
class Rows:
    """Axes with a row per label; positions are in CSS pixels.

    Attributes:
      fig: the figure.
      labels: labels of the rows, from top to bottom.
      left: left end of the axes.
      bottom: lower end of the axes.
      width: width of the axes.
      row_height: height of a row.
      max_length: letters of a label before it is cut.
    """

    fig: Figure
    labels: Sequence[str]
    left: float
    bottom: float
    width: float
    row_height: float
    max_length: int

    def axes(self, xlim: tuple[float, float], xlabel: str = "") -> Axes:
        """Adds the axes, of which only x is drawn."""
        n = len(self.labels)
        axes = place_axes(self.fig, self.left, self.bottom, self.width, self.row_height * n)
        axes.set(xlim=xlim, ylim=(n - 0.5, -0.5), xlabel=xlabel)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        return axes

    def write(self, row: int, x: float, text: str, **style) -> None:
        """Writes in a row."""
        middle = self.bottom + self.row_height * (len(self.labels) - row - 0.5) - 4
        write(self.fig, x, middle, text, **style)

    def write_label(self, row: int) -> None:
        """Writes the label of a row on the left of the axes."""
        self.write(row, self.left - 10, short(self.labels[row], self.max_length), ha="right")


def write(fig: Figure, x: float, y: float, text: str, **style) -> None:
    """Writes at a position in CSS pixels."""
    across, up = fig.get_size_inches() * 72
    fig.text(x / across, y / up, text, **style)


def draw_dot(axes: Axes, x: float, y: float, style: Style, size: float = 8) -> None:
    """Draws a group's marker, edged so that it is seen on lines."""
    edge: dict[str, Any] = {"markeredgecolor": colour("paper"), "markeredgewidth": 0.9}
    size += 0 if style.marker in "os" else 1.5  # a square of the same width has more ink
    tint = colour(style.token)
    axes.plot(
        x, y, marker=style.marker, markersize=size, color=tint, clip_on=False, zorder=4, **edge
    )


def draw_spread(
    axes: Axes,
    row: int,
    values: Float[np.ndarray, " n"],
    tint: str,
    *,
    size: float,
    alpha: float,
    jitter: float,
    bar: float,
    max_dots: int | None = None,
    quartiles: bool = True,
) -> None:
    """Draws values of a row as jittered dots, with a bar of the quartiles and the median.

    Args:
      axes: axes with a row per integer of y.
      row: y of the row.
      values: the values.
      tint: their colour.
      size: diameter of a dot.
      alpha: opacity of a dot.
      jitter: dots are moved by up to this fraction of a row.
      bar: width of the bar.
      max_dots: a sample of that many is drawn of more values.
      quartiles: whether the bar is drawn.
    """
    rng = np.random.default_rng(0)
    dots = values
    if max_dots is not None and len(values) > max_dots:
        dots = rng.choice(values, max_dots, replace=False)
    y = row + rng.uniform(-jitter, jitter, len(dots))
    marker: dict[str, Any] = {"marker": "o", "markersize": size, "markeredgewidth": 0}
    axes.plot(dots, y, linestyle="", color=tint, alpha=alpha, **marker)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    if quartiles:
        ends = [low, high], [row, row]
        axes.plot(*ends, color=tint, linewidth=bar, solid_capstyle="butt", alpha=0.9)
    stroke = jitter + 0.04
    axes.plot([median, median], [row - stroke, row + stroke], color=colour("ink"), linewidth=2)
