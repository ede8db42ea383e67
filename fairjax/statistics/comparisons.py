"""Many comparisons: corrected p-values, and methods ranked over datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from fairjax.utils.errors import UserError


def holm(p_values: Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
    """Adjusts p-values so that the chance of any false rejection is held.

    Args:
      p_values: p-values of one family of tests; NaN is no test, and stays NaN.

    Returns:
      Adjusted p-values of the same shape: rejecting those below α keeps the family-wise error rate
      below α.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """

    def adjusted(p: np.ndarray) -> np.ndarray:
        order = np.argsort(p)
        stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)).clip(max=1)
        result = np.empty_like(stepped)
        result[order] = stepped
        return result

    return _on_tests(p_values, adjusted)


def benjamini_hochberg(p_values: Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
    """Adjusts p-values so that the expected fraction of false rejections is held.

    NaN is no test, and stays NaN.

    Source: Benjamini & Hochberg 1995, Controlling the false discovery rate.
    """
    return _on_tests(p_values, stats.false_discovery_control)


def _on_tests(p_values: np.ndarray, adjust: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    p_values = np.asarray(p_values, np.float64)
    result = np.full(p_values.shape, np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        result[tested] = adjust(p_values[tested])
    return result


class SignedRank(NamedTuple):
    """Wilcoxon's signed-rank test: pairs that were compared, the median difference, and the
    two-sided p-value.
    """

    n_pairs: int
    median_difference: float
    p_value: float


def wilcoxon(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> SignedRank:
    """Compares two methods over datasets; zero differences are split between the signs (Pratt's
    ranks).

    Args:
      a: (n,) one number for each dataset.
      b: (n,) that of the other method; a pair with NaN is left out.

    Returns:
      p-value 1 where the methods never differ, NaN for fewer than two pairs.

    Source: Wilcoxon 1945; Demšar 2006, section 3.1.3.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    difference = difference[~np.isnan(difference)]
    if difference.size < 2:
        return SignedRank(
            difference.size, float(np.median(difference)) if difference.size else np.nan, np.nan
        )
    p = (
        1.0
        if not difference.any()
        else float(stats.wilcoxon(difference, zero_method="zsplit").pvalue)
    )
    return SignedRank(difference.size, float(np.median(difference)), p)


class Ranks(NamedTuple):
    """Methods (k) ranked over datasets.

    Attributes:
      mean_ranks: (k,), 1 is best; ties share their mean rank.
      statistic, p_value: friedman's test that all methods are equal; of two methods, Wilcoxon's
        test.
      critical_difference: mean ranks that differ by more are different, at the level that was asked
        for.
      cliques: largest sets of methods (indices, from the best) within the critical difference of
        each other.
      n_datasets: datasets with a number for every method.
      n_dropped: datasets without one.
    """

    mean_ranks: Float[np.ndarray, " k"]
    statistic: float
    p_value: float
    critical_difference: float
    cliques: list[list[int]]
    n_datasets: int
    n_dropped: int


def friedman_nemenyi(
    table: Float[np.ndarray, "n k"], higher_is_better: bool = True, alpha: float = 0.05
) -> Ranks:
    """Ranks methods over datasets, and says which ranks differ.

    Args:
      table: (datasets, methods); a dataset with NaN is left out.
      higher_is_better: whether the larger of two numbers is the better.
      alpha: level of the critical difference.

    Raises:
      UserError: fewer than two methods, or than two complete datasets.

    Source: Friedman 1937; Nemenyi 1963; Demšar 2006, Statistical comparisons of classifiers over
    multiple data sets.
    """
    table = np.asarray(table, np.float64)
    complete = table[~np.isnan(table).any(1)]
    n_datasets, k = complete.shape
    if k < 2 or n_datasets < 2:
        raise UserError(
            "ranks need at least 2 methods and 2 datasets with a number for each, "
            f"not {k} methods and {n_datasets}"
        )
    ranks = stats.rankdata(-complete if higher_is_better else complete, axis=1).mean(0)
    if (complete == complete[:, :1]).all():
        statistic, p_value = 0.0, 1.0  # without any difference the statistics are 0 / 0
    elif k > 2:
        statistic, p_value = map(float, stats.friedmanchisquare(*complete.T))
    else:
        statistic, p_value = np.nan, wilcoxon(*complete.T).p_value
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * n_datasets)))
    return Ranks(
        ranks,
        statistic,
        p_value,
        critical,
        _cliques(ranks, critical),
        n_datasets,
        len(table) - n_datasets,
    )


def _cliques(ranks: np.ndarray, critical: float) -> list[list[int]]:
    """Longest sequences of the ordered methods that fit the critical difference."""
    order = np.argsort(ranks, kind="stable")
    last = np.searchsorted(ranks[order], ranks[order] + critical, side="right")
    longest = [
        (first, end)
        for first, end in enumerate(last)
        if end - first > 1 and (not first or end > last[first - 1])
    ]
    return [order[first:end].tolist() for first, end in longest]
