"""The variance of an AUC in closed form, also for several images of one patient.

An AUC is a mean over pairs of a positive and a negative. Its *influence* is what each patient adds
to it, scaled such that the variance is the sum of squares; the variance of a difference of AUCs, of
groups or of models, is the sum of squares of the difference of influences. Sample weights have no
place in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

Interval = tuple[float, float]


def auc_influence(
    scores: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    patients: Int[np.ndarray, " n"],
    n_patients: int,
) -> tuple[float, Float[np.ndarray, " k"]]:
    """The AUC and the influence of each patient.

    V₁₀ and V₀₁ are the structural components of positives and negatives, the fraction of the other
    class that each is on the right side of; I₁₀ and I₀₁ count the patients with a positive and with
    a negative. The influence of a patient is √(I₁₀ / (I₁₀ − 1)) Σ (V₁₀ − AUC) / m + √(I₀₁ / (I₀₁ −
    1)) Σ (V₀₁ − AUC) / n over its own samples. Where every sample is its own patient, its squares
    add up to DeLong's S₁₀ / m + S₀₁ / n; else to Obuchowski's variance, but that the factor of her
    cross term S₁₁ is √(I₁₀ I₀₁ / ((I₁₀ − 1) (I₀₁ − 1))), which makes the sum of squares, in place
    of I / (I − 1).

    Args:
      scores: (n,).
      labels: (n,) in {0, 1}.
      patients: (n,) codes below `n_patients`.
      n_patients: length of the influence; a patient without samples here has 0.

    Returns:
      The AUC and (n_patients,) float64; NaN where a class is missing, and NaN influence where one
      has a single patient.

    Source: DeLong, DeLong & Clarke-Pearson 1988; Sun & Xu 2014 (by ranks); Obuchowski 1997
    (clusters, which are patients here).
    """
    positive = np.asarray(labels) == 1
    parts = np.asarray(scores)[positive], np.asarray(scores)[~positive]
    m, n = map(len, parts)
    if not m or not n:
        return np.nan, np.full(n_patients, np.nan)
    below = [_fraction_below(parts[0], parts[1]), 1 - _fraction_below(parts[1], parts[0])]
    auc = float(below[0].mean())
    influence = np.zeros(n_patients)
    for component, side in zip(below, (positive, ~positive), strict=True):
        size = np.unique(patients[side]).size
        correction = np.sqrt(size / (size - 1)) if size > 1 else np.nan
        influence += correction * np.bincount(
            patients[side], (component - auc) / side.sum(), n_patients
        )
    return auc, influence


def interval(auc: float, se: float, confidence: float) -> Interval:
    """Wald interval of an AUC, within [0, 1]."""
    low, high = difference_interval(auc, se, confidence)
    return max(low, 0.0), min(high, 1.0)


def difference_interval(difference: float, se: float, confidence: float) -> Interval:
    """Wald interval of a difference of AUCs."""
    half = stats.norm.ppf((1 + confidence) / 2) * se
    return float(difference - half), float(difference + half)


def p_value(difference: float, se: float) -> float:
    """Two-sided p-value of no difference; 1 for the same scores twice."""
    if se == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.norm.sf(abs(difference) / se))


class Test(NamedTuple):
    """Difference of two AUCs, its standard error, z and two-sided p-value."""

    difference: float
    se: float
    z: float
    p_value: float


def delong_test(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    patients: Int[np.ndarray, " n"] | None = None,
) -> Test:
    """Compares the AUCs of two models on the same samples.

    Args:
      a: (n,) scores of one model.
      b: (n,) scores of the other.
      labels: (n,) in {0, 1}.
      patients: (n,) codes of patients; None: every sample is one.
    """
    codes = (
        np.arange(len(labels))
        if patients is None
        else np.unique(patients, return_inverse=True)[1].reshape(-1)
    )
    n_patients = int(codes.max(initial=-1)) + 1
    (auc_a, of_a), (auc_b, of_b) = (
        auc_influence(scores, labels, codes, n_patients) for scores in (a, b)
    )
    difference, se = auc_a - auc_b, float(np.linalg.norm(of_a - of_b))
    return Test(difference, se, difference / se if se else 0.0, p_value(difference, se))


def _fraction_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each value, the fraction of others that are below it, equal ones by half."""
    ascending = np.sort(others)
    below, not_above = (np.searchsorted(ascending, values, side=side) for side in ("left", "right"))
    return (below + not_above) / (2 * len(others))
