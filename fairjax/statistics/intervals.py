"""Bootstrap intervals from replicates: percentile, and simultaneous ones for extremes over groups.

Arrays are NumPy, float32 or float64; groups (G) are the first axis where there are any, replicates (B) the last. A
replicate in which a value is undefined is NaN, is left out, and is counted by `invalid`; where fewer than half are left
there is no interval.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

MIN_VALID = 0.5  # share of replicates that must be defined for an interval

Interval = tuple[np.ndarray, np.ndarray]


def quantiles(
    replicates: Float[np.ndarray, " *n b"], probabilities: tuple[float, ...]
) -> list[Float[np.ndarray, " *n"]]:
    """Quantiles over the defined replicates, interpolated linearly; NaN where too few are defined."""
    n_replicates = replicates.shape[-1]
    if n_replicates == 0:
        return [np.full(replicates.shape[:-1], np.nan)] * len(probabilities)
    ascending = np.sort(replicates, axis=-1)  # NaN last
    n_valid = n_replicates - invalid(replicates)
    result = []
    for probability in probabilities:
        position = np.maximum(n_valid - 1, 0) * probability
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(n_valid - 1, 0))
        low, high = (np.take_along_axis(ascending, i[..., None], -1)[..., 0].astype(np.float64) for i in (below, above))
        result.append(np.where(n_valid >= MIN_VALID * n_replicates, low + (high - low) * (position - below), np.nan))
    return result


def invalid(replicates: Float[np.ndarray, " *n b"]) -> Int[np.ndarray, " *n"]:
    """Counts the replicates in which the value is undefined."""
    return np.isnan(replicates).sum(-1)


def mean(replicates: Float[np.ndarray, " *n b"]) -> Float[np.ndarray, " *n"]:
    """Mean over the defined replicates; NaN where there is none."""
    n_valid = replicates.shape[-1] - invalid(replicates)
    return np.where(n_valid > 0, np.nansum(replicates, -1, dtype=np.float64) / np.maximum(n_valid, 1), np.nan)


def percentile(replicates: Float[np.ndarray, " *n b"], confidence: float) -> Interval:
    """Equal-tailed percentile interval (Efron & Tibshirani 1993, ch. 13)."""
    low, high = quantiles(replicates, ((1 - confidence) / 2, (1 + confidence) / 2))
    return low, high


def simultaneous_range(
    value: Float[np.ndarray, " *n"],
    groups: Float[np.ndarray, " g *n"],
    replicates: Float[np.ndarray, "g *n b"],
    confidence: float,
) -> Interval:
    """Interval of max − min over groups, from the bootstrap distribution of the range of the groups' errors.

    With e_g = m*_g − m_g, q is the `confidence` quantile of max_g e_g − min_g e_g over replicates: as in Tukey's
    studentised range, all pairwise differences lie within q of their estimates at once, and so does the largest of
    them. The interval is [max(0, value − q), value + q]. For two groups it is the symmetric bootstrap interval of the
    absolute difference. A lower end of 0 means: a gap of 0 is not excluded. A percentile interval could not say that,
    because a replicate's max − min is never 0, and it is biased upward besides.

    Source: Tukey 1953; Romano & Wolf 2005 (bootstrap of the maximal deviation).
    """
    errors = replicates - groups[..., None]
    (q,) = quantiles(errors.max(0) - errors.min(0), (confidence,))
    return np.maximum(value - q, 0), value + q


def simultaneous_max(
    value: Float[np.ndarray, " *n"],
    groups: Float[np.ndarray, " g *n"],
    replicates: Float[np.ndarray, "g *n b"],
    confidence: float,
) -> Interval:
    """Interval of an extreme over groups: value ± q, q the `confidence` quantile of max_g |m*_g − m_g| over replicates.

    All groups lie within q of their estimates at once, and so does the least or the greatest of them.
    """
    (q,) = quantiles(np.abs(replicates - groups[..., None]).max(0), (confidence,))
    return value - q, value + q


INTERVALS: dict[str, Callable[..., Interval]] = {
    "simultaneous_range": simultaneous_range,
    "simultaneous_max": simultaneous_max,
}
