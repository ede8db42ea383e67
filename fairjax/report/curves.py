"""What the curves of the report are made of: ROC steps, calibration bins, thinned clouds of points."""

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
    before, here, after = points[:-2], points[1:-1], points[2:]
    straight = np.any((before == here) & (here == after), axis=1)
    keep = np.concatenate([[True], ~straight, [True]])
    return points[keep, 0], points[keep, 1]


class Bins(NamedTuple):
    """Calibration bins that hold samples: mean score, share of positives, its interval, and counts
    of all bins.
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
    """Bins scores into equal widths on [0, 1], the bins of the strict ECE, with Wilson intervals of
    the frequency.

    Args:
      scores: positive-class probabilities.
      labels: 0 or 1.
      confidence: level of the intervals, e.g. 0.95.
      bins: their number.
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
    share: Float[np.ndarray, " k"], n: Float[np.ndarray, " k"], confidence: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Returns the interval of a share among `n` independent samples.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA
    1927.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return centre - half, centre + half


def thinned(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], kind: Int[np.ndarray, " n"], most: int
) -> Bool[np.ndarray, " n"]:
    """Marks at most `most` points that still show the cloud: one per occupied cell of a grid, for
    each kind.

    Args:
      x, y: finite coordinates.
      kind: an integer per point (its colour); points of different kinds do not replace one another.
      most: all points are kept up to here; beyond it, the finest grid that fits is used.
    """
    keep = np.ones(len(x), bool)
    cells = 256
    while keep.sum() > most and cells > 1:
        place = (kind * cells + _cell(x, cells)) * cells + _cell(y, cells)
        keep[:] = False
        keep[np.unique(place, return_index=True)[1]] = True
        cells = int(0.9 * cells)
    return keep


def _cell(values: Float[np.ndarray, " n"], cells: int) -> Int[np.ndarray, " n"]:
    """Returns the index of the cell that holds each value, over the range of the values."""
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-12) * (cells - 1)).astype(int)


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
    positives, negatives = (np.sort(scores[(np.asarray(labels) > 0) == of]) for of in (True, False))
    tp = len(positives) - np.searchsorted(positives, thresholds)
    fp = len(negatives) - np.searchsorted(negatives, thresholds)
    return tp / n - fp / n * thresholds / (1 - thresholds)
