"""Disparity of a metric over the groups of an attribute: one row for each way to make one number of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Disparity(NamedTuple):
    """A row of `DISPARITIES`.

    Attributes:
      label: As written in tables and figures.
      value: `(groups (G, ...), higher_is_better) -> (...)`; NaN where a group is.
      interval: How its interval is made: a name in `fairjax.statistics.intervals.INTERVALS`.
      bounds: Its smallest and largest value, given the metric's.
      source: Formula or reference.
      bias_corrected: Whether the bootstrap estimate of bias is subtracted from the value, down to 0.
      needs_direction: Whether it has no row for a metric of which neither end is better.
    """

    label: str
    value: Callable[[np.ndarray, bool | None], np.ndarray]
    interval: str
    bounds: Callable[[tuple[float, float]], tuple[float, float]]
    source: str
    bias_corrected: bool = False
    needs_direction: bool = False


def gap(groups: Float[np.ndarray, " g *n"], higher_is_better: bool | None = None) -> Float[np.ndarray, " *n"]:
    """Largest difference between two groups."""
    return groups.max(0) - groups.min(0)


def worst(groups: Float[np.ndarray, " g *n"], higher_is_better: bool | None) -> Float[np.ndarray, " *n"]:
    """Value of the group that fares worst; NaN for a metric of which neither end is better."""
    if higher_is_better is None:
        return np.full(groups.shape[1:], np.nan)
    return groups.min(0) if higher_is_better else groups.max(0)


def _width(bounds: tuple[float, float]) -> tuple[float, float]:
    return 0.0, bounds[1] - bounds[0]


DISPARITIES: dict[str, Disparity] = {
    "gap": Disparity("Gap", gap, "simultaneous_range", _width, "max_g m − min_g m"),
    "gap_corrected": Disparity(
        "Gap, bias-corrected",
        gap,
        "simultaneous_range",
        _width,
        "max(0, 2 gap − mean gap*): the largest of noisy differences is too large, Efron & Tibshirani 1993, ch. 10",
        bias_corrected=True,
    ),
    "worst": Disparity(
        "Worst group",
        worst,
        "simultaneous_max",
        lambda bounds: bounds,
        "min_g m; of a loss max_g m",
        needs_direction=True,
    ),
}
