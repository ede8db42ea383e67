"""The conventions of the published FairMedFM code, where they differ from the strict ones.

Source: the package `fairmedfm` 0.4.2; Jin et al. 2024, FairMedFM: fairness benchmarking for medical
imaging foundation models, NeurIPS.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.metrics import precision_recall_curve

from fairjax.metrics.sums import N_BINS


def just_above(threshold: float | Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
    """The next number: predictions are s > t, and everywhere else here s ≥ t. Above 0 it is the
    smallest normal one, because XLA takes smaller ones for 0.
    """
    return np.maximum(np.nextafter(threshold, np.inf), np.finfo(np.float64).tiny)


def best_f1_threshold(scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """The smallest number above the score with the highest F1, the lowest such score on ties.

    F1 has 1e-8 in its denominator, which decides ties. It is that of s ≥ t, although the prediction
    is s > t.

    Args:
      scores: (n,) float64.
      labels: (n,) in {0, 1}, both.
    """
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall + 1e-8)
    return float(just_above(thresholds[np.argmax(f1[:-1])]))


def own_range_edges(
    scores: Float[np.ndarray, " n"], members: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " e"]:
    """Lower edges of all bins but the first, of equal width over the range of the members' own
    scores.

    Bins are those of `pandas.cut`, which hold their upper edge: moved up to the next float64,
    because ours hold the lower one.
    """
    edges = pd.cut(scores[members].astype(np.float64), N_BINS, retbins=True)[1]
    return just_above(edges[1:-1])
