"""Bootstrap intervals from replicates: percentile and BCa, and simultaneous ones for disparities
over groups.

Arrays are NumPy, float32 or float64; groups (G) are the first axis where there are any, replicates
(B) the last. A replicate in which a value is undefined is NaN, is left out, and is counted by
`invalid`; where fewer than half are left there is no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from fairjax.metrics.disparity import Disparity, gap
from fairjax.metrics.table import Metric

MIN_VALID = 0.5  # fraction of replicates that must be defined for an interval

Interval = tuple[np.ndarray, np.ndarray]


def quantiles(
    replicates: Float[np.ndarray, " *n b"], probabilities: Sequence[float | np.ndarray]
) -> list[Float[np.ndarray, " *n"]]:
    """Quantiles over the defined replicates, interpolated linearly; NaN where too few are defined.

    Args:
      replicates: (..., B).
      probabilities: probability of each quantile, one number or one for each value.
    """
    n_replicates = replicates.shape[-1]
    if n_replicates == 0:
        return [np.full(replicates.shape[:-1], np.nan)] * len(probabilities)
    ascending = np.sort(replicates, axis=-1)  # NaN last
    n_valid = n_replicates - invalid(replicates)
    result = []
    for probability in probabilities:
        position = np.nan_to_num(np.maximum(n_valid - 1, 0) * probability)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(n_valid - 1, 0))
        low, high = (
            np.take_along_axis(ascending, i[..., None], -1)[..., 0].astype(np.float64)
            for i in (below, above)
        )
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            between = np.where(low == high, low, low + (high - low) * (position - below))
        result.append(np.where(n_valid >= MIN_VALID * n_replicates, between, np.nan))
    return result


def invalid(replicates: Float[np.ndarray, " *n b"]) -> Int[np.ndarray, " *n"]:
    """Counts the replicates in which the value is undefined."""
    return np.isnan(replicates).sum(-1)


def mean(replicates: Float[np.ndarray, " *n b"]) -> Float[np.ndarray, " *n"]:
    """Mean over the defined replicates; NaN where there is none."""
    n_valid = replicates.shape[-1] - invalid(replicates)
    return np.where(
        n_valid > 0, np.nansum(replicates, -1, dtype=np.float64) / np.maximum(n_valid, 1), np.nan
    )


def centre(
    value: Float[np.ndarray, " *n"], replicates: Float[np.ndarray, " *n b"]
) -> Float[np.ndarray, " *n b"]:
    """Replicates moved such that their mean is the value: for statistics that resampling itself
    shifts.
    """
    return replicates + (value - mean(replicates))[..., None].astype(replicates.dtype)


def p_value(replicates: Float[np.ndarray, " *n b"]) -> Float[np.ndarray, " *n"]:
    """Two-sided p-value of 0: twice the share of replicates on its other side, (1 + count) / (1 +
    B) each.

    It is below 1 − confidence about where the percentile interval excludes 0. NaN where there is no
    interval.

    Source: Efron & Tibshirani 1993, ch. 15.4 (achieved significance level); Davison & Hinkley 1997,
    ch. 4 for the 1 +.
    """
    n_valid = replicates.shape[-1] - invalid(replicates)
    tail = np.minimum((replicates <= 0).sum(-1), (replicates >= 0).sum(-1))
    enough = n_valid >= max(1, MIN_VALID * replicates.shape[-1])
    return np.where(enough, np.minimum(2 * (1 + tail) / (1 + n_valid), 1), np.nan)


def expanded(confidence: float, n: Int[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
    """The level at which percentiles of n resampled patients cover as often as Student's t would.

    Resampling n patients has a variance too small by (n − 1) / n, and tails too light: the level is
    that of a normal distribution at √(n / (n − 1)) t_{n−1}. For n = 10 and 95 % it is 98.3 %, for n
    = 100 it is 95.4 %.

    Source: Hesterberg 2015, What teachers should know about the bootstrap, section 5.3.
    """
    n = np.maximum(n, 2)
    quantile = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 + confidence) / 2)
    return np.asarray(1 - 2 * special.ndtr(-quantile))


def perfect(confidence: float, n: Int[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
    """Lower end of the exact interval of a fraction that is 1 of n (Clopper & Pearson 1934)."""
    return np.asarray(((1 - confidence) / 2) ** (1 / np.maximum(n, 1)))


def percentile(
    replicates: Float[np.ndarray, " *n b"], confidence: float | Float[np.ndarray, "*#n"]
) -> Interval:
    """Equal-tailed percentile interval (Efron & Tibshirani 1993, ch. 13)."""
    low, high = quantiles(replicates, ((1 - confidence) / 2, (1 + confidence) / 2))
    return low, high


def bca(
    value: Float[np.ndarray, " *n"],
    replicates: Float[np.ndarray, " *n b"],
    jackknife: Float[np.ndarray, " *n k"],
    confidence: float | Float[np.ndarray, "*#n"],
) -> Interval:
    """Bias-corrected and accelerated interval.

    Args:
      value: (...) on the sample.
      replicates: (..., B) of the bootstrap.
      jackknife: (..., K) with each of K blocks of patients left out; for single patients it is the
        usual jackknife.
      confidence: level of the interval.

    Source: Efron 1987; Efron & Tibshirani 1993, ch. 14.3.
    """
    n_valid = replicates.shape[-1] - invalid(replicates)
    here = value[..., None].astype(replicates.dtype)
    share = ((replicates < here).sum(-1) + (replicates == here).sum(-1) / 2) / np.maximum(
        n_valid, 1
    )
    bias = special.ndtri(
        np.clip(share, 0.5 / np.maximum(n_valid, 1), 1 - 0.5 / np.maximum(n_valid, 1))
    )
    influence = mean(jackknife)[..., None] - jackknife
    spread = np.nansum(influence**2, -1, dtype=np.float64) ** 1.5
    acceleration = np.nansum(influence**3, -1, dtype=np.float64) / np.where(
        spread > 0, 6 * spread, 1
    )
    ends = [bias + special.ndtri(tail) for tail in ((1 - confidence) / 2, (1 + confidence) / 2)]
    low, high = quantiles(
        replicates, [special.ndtr(bias + end / (1 - acceleration * end)) for end in ends]
    )
    return low, high


def spread(
    value: Float[np.ndarray, "*#n"],
    groups: Float[np.ndarray, " g *#n"],
    replicates: Float[np.ndarray, "g *#n b"],
    confidence: float,
    statistic: Callable[[np.ndarray], np.ndarray] = gap,
) -> Interval:
    """Interval of a spread over groups (max − min, or the standard deviation), from that of the
    groups' errors.

    With e_g = m*_g − m_g, q is the `confidence` quantile over replicates of the spread of the
    errors, and the interval is [max(0, value − q), value + q]: a spread is a seminorm, so it cannot
    be further from the truth than the spread of the errors. For max − min this is Tukey's range:
    all pairwise differences lie within q of their estimates at once, and so does the largest of
    them; for two groups it is the symmetric bootstrap interval of the absolute difference. A lower
    end of 0 means: a gap of 0 is not excluded. A percentile interval could not say that, because a
    replicate's max − min is never 0, and it is biased upward besides.

    Source: Tukey 1953; Romano & Wolf 2005 (bootstrap of the maximal deviation).
    """
    (q,) = quantiles(statistic(replicates - groups[..., None]), (confidence,))
    return np.maximum(value - q, 0), value + q


def extreme(
    value: Float[np.ndarray, "*#n"],
    groups: Float[np.ndarray, " g *#n"],
    replicates: Float[np.ndarray, "g *#n b"],
    confidence: float,
) -> Interval:
    """Interval of an extreme over groups: value ± q, q the `confidence` quantile of max_g |m*_g −
    m_g| over replicates.

    All groups lie within q of their estimates at once, and so does the least or the greatest of
    them.
    """
    (q,) = quantiles(np.abs(replicates - groups[..., None]).max(0), (confidence,))
    return value - q, value + q


def log_range(
    value: Float[np.ndarray, "*#n"],
    groups: Float[np.ndarray, " g *#n"],
    replicates: Float[np.ndarray, "g *#n b"],
    confidence: float,
    scale: Callable[[np.ndarray], np.ndarray],
) -> Interval:
    """Interval of a ratio of extremes: as `spread` of the logarithms that `scale` gives, [value /
    eᵠ, value · eᵠ].

    A replicate in which a group's logarithm is infinite is undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = scale(replicates) - scale(groups)[..., None]
        (q,) = quantiles(gap(np.where(np.isfinite(errors), errors, np.nan)), (confidence,))
    return value * np.exp(-q), value * np.exp(q)


class Sampled(NamedTuple):
    """A disparity on the sample and in the replicates, and the groups it is of."""

    value: Float[np.ndarray, " *n"]
    replicates: Float[np.ndarray, " *n b"]
    groups: Float[np.ndarray, " g *n"]
    group_replicates: Float[np.ndarray, "g *n b"]


INTERVALS: dict[str, Callable[[Sampled, Disparity, Metric, float], Interval]] = {
    "spread": lambda s, row, metric, confidence: spread(
        s.value,
        s.groups,
        s.group_replicates,
        confidence,
        lambda errors: row.value(errors, errors, metric),
    ),
    "extreme": lambda s, row, metric, confidence: extreme(
        s.value, s.groups, s.group_replicates, confidence
    ),
    "log_range": lambda s, row, metric, confidence: log_range(
        s.value, s.groups, s.group_replicates, confidence, row.scale or np.log
    ),
    "centred": lambda s, row, metric, confidence: percentile(
        centre(s.value, s.replicates), confidence
    ),
}
