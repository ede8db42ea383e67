"""The points of curves: ROC steps, calibration bins, net benefit, thinned clouds of points."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

_ROC_GRID = 512  # a curve is drawn about 400 px wide: finer steps would only cost bytes


def roc_steps(
    scores: Float[np.ndarray, " n"], labels: Num[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]] | None:
    """Returns the corners of the ROC curve, from (0, 0) to (1, 1), to the resolution of a screen.

    Args:
      scores: positive-class scores; samples of equal score enter together.
      labels: 0 or 1.

    Returns:
      False and true positive rates, or None where one class is missing.
    """
    positive = np.asarray(labels) > 0
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    tpr = np.append(0, np.cumsum(positive[order])[last_of_tie]) / n_positive
    fpr = np.append(0, np.cumsum(~positive[order])[last_of_tie]) / n_negative
    points = np.unique(np.round(np.stack([fpr, tpr], 1) * _ROC_GRID), axis=0) / _ROC_GRID
    before, middle, after = points[:-2], points[1:-1], points[2:]
    straight = np.any((before == middle) & (middle == after), axis=1)
    keep = np.concatenate([[True], ~straight, [True]])
    return points[keep, 0], points[keep, 1]


class Bins(NamedTuple):
    """Calibration bins.

    Attributes:
      mean_score: mean score of each bin that holds samples.
      frequency: fraction of positives in it.
      low: lower end of the fraction's interval.
      high: upper end of the fraction's interval.
      counts: samples of all bins.
    """

    mean_score: Float[np.ndarray, " k"]
    frequency: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    counts: Int[np.ndarray, " bins"]


def calibration_bins(
    scores: Float[np.ndarray, " n"],
    labels: Num[np.ndarray, " n"],
    confidence: float,
    bins: int = 10,
) -> Bins:
    """Bins scores into equal widths on [0, 1], with Wilson intervals; the strict ECE's bins.

    Args:
      scores: positive-class probabilities.
      labels: 0 or 1.
      confidence: level of the intervals, e.g. 0.95.
      bins: number of bins.
    """
    index = np.clip((np.asarray(scores) * bins).astype(int), 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    used = counts > 0
    n = counts[used].astype(float)
    mean_score = np.bincount(index, weights=scores, minlength=bins)[used] / n
    frequency = np.bincount(index, weights=labels, minlength=bins)[used] / n
    low, high = wilson(frequency, n, confidence)
    return Bins(mean_score, frequency, low, high, counts)


def wilson(
    fraction: Float[np.ndarray, " k"], n: Num[np.ndarray, " k"], confidence: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Returns the interval of a fraction of `n` independent samples.

    Args:
      fraction: fractions of positives.
      n: samples that they are fractions of.
      confidence: level of the intervals.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA
    1927.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return centre - half, centre + half


def thinned(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    kind: Int[np.ndarray, " n"],
    max_points: int,
) -> Bool[np.ndarray, " n"]:
    """Marks points that still show the cloud: for each kind, one per occupied square of a grid.

    Args:
      x: finite coordinates.
      y: finite coordinates.
      kind: an integer per point (its colour); points of different kinds do not replace one another.
      max_points: all points are kept up to here; beyond it, the finest grid that fits is used.
    """
    keep = np.ones(len(x), bool)
    size = 256
    while keep.sum() > max_points and size > 1:
        square = (kind * size + _bin(x, size)) * size + _bin(y, size)
        keep[:] = False
        keep[np.unique(square, return_index=True)[1]] = True
        size = int(0.9 * size)
    return keep


def _bin(values: Float[np.ndarray, " n"], n_bins: int) -> Int[np.ndarray, " n"]:
    """Returns the bin of each value, over the range of the values."""
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-12) * (n_bins - 1)).astype(int)


DECISION_GRID = np.linspace(0.01, 0.99, 99)


def net_benefit(
    scores: Float[np.ndarray, " n"],
    labels: Num[np.ndarray, " n"],
    thresholds: Float[np.ndarray, " t"],
) -> Float[np.ndarray, " t"]:
    """Returns TP / n − FP / n · t / (1 − t) at each threshold t, for decisions s ≥ t.

    Source: Vickers & Elkin 2006.
    """
    n = len(labels)
    positive = np.asarray(labels) > 0
    positives, negatives = np.sort(scores[positive]), np.sort(scores[~positive])
    tp = len(positives) - np.searchsorted(positives, thresholds)
    fp = len(negatives) - np.searchsorted(negatives, thresholds)
    return tp / n - fp / n * thresholds / (1 - thresholds)
