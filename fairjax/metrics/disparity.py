"""Disparity over the groups of an attribute: ways to make one number of many, and the named
criteria of fairness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fairjax.metrics.table import Metric

Bounds = tuple[float, float]


class Disparity(NamedTuple):
    """A row of `DISPARITIES`: one number for each metric and attribute.

    Attributes:
      label: name in tables and figures.
      value: `(groups (G, ...), overall (...), metric) -> (...)`; NaN where a group is.
      interval: how its interval is made: a name in `fairjax.statistics.intervals.INTERVALS`.
      bounds: its smallest and largest value, given the metric's.
      source: formula or reference.
      applies: whether a metric has it.
      bias_corrected: whether the bootstrap estimate of bias is subtracted from the value, down to
        0.
      scale: value → scale, if its interval is made on another scale than its own.
    """

    label: str
    value: Callable[[np.ndarray, np.ndarray, Metric], np.ndarray]
    interval: str
    bounds: Callable[[Bounds], Bounds]
    source: str
    applies: Callable[[Metric], bool] = lambda metric: True
    bias_corrected: bool = False
    scale: Callable[[np.ndarray], np.ndarray] | None = None


class Criterion(NamedTuple):
    """A row of `CRITERIA`: one number for each attribute, made of disparities of named metrics.

    Attributes:
      label: name in tables and figures.
      metrics: names of the metrics whose disparities it is made of.
      source: formula or reference.
      disparity: name of those disparities in `DISPARITIES`.
      combine: how those of several metrics become one: `(k, ...) -> (...)` along axis 0.
      complement: whether it is 1 less that number.
    """

    label: str
    metrics: tuple[str, ...]
    source: str
    disparity: str = "gap"
    combine: Callable[..., np.ndarray] = np.max
    complement: bool = False


def gap(groups: Float[np.ndarray, " g *n"], *_: Any) -> Float[np.ndarray, " *n"]:
    """Largest difference between two groups."""
    return groups.max(0) - groups.min(0)


def std(groups: Float[np.ndarray, " g *n"], *_: Any) -> Float[np.ndarray, " *n"]:
    """Population standard deviation over groups, each group counting as one."""
    return groups.std(0)


def worst(
    groups: Float[np.ndarray, " g *n"], overall: Float[np.ndarray, "..."], metric: Metric
) -> Float[np.ndarray, " *n"]:
    """Value of the group that fares worst."""
    return groups.min(0) if metric.higher_is_better else groups.max(0)


def best(
    groups: Float[np.ndarray, " g *n"], overall: Float[np.ndarray, "..."], metric: Metric
) -> Float[np.ndarray, " *n"]:
    """Value of the group that fares best."""
    return groups.max(0) if metric.higher_is_better else groups.min(0)


def ratio(groups: Float[np.ndarray, " g *n"], *_: Any) -> Float[np.ndarray, " *n"]:
    """Smallest value over largest; NaN where all are 0."""
    return _divide(groups.min(0), groups.max(0))


def skewness(groups: Float[np.ndarray, " g *n"], *_: Any) -> Float[np.ndarray, " *n"]:
    """Largest error over smallest, (1 − min) / (1 − max); NaN where the best group has none."""
    return _divide(1 - groups.min(0), 1 - groups.max(0))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, np.nan, a / np.where(b == 0, 1, b))


def _same(bounds: Bounds) -> Bounds:
    return bounds


def _width(bounds: Bounds) -> Bounds:
    return 0.0, bounds[1] - bounds[0]


def _has_direction(metric: Metric) -> bool:
    return metric.higher_is_better is not None


def _is_fraction(metric: Metric) -> bool:
    return metric.bounds == (0.0, 1.0)


def _is_utility(metric: Metric) -> bool:
    return bool(metric.higher_is_better) and _is_fraction(metric)


DISPARITIES: dict[str, Disparity] = {
    "gap": Disparity("Gap", gap, "spread", _width, "max_g m − min_g m"),
    "gap_corrected": Disparity(
        "Gap, bias-corrected",
        gap,
        "spread",
        _width,
        "max(0, 2 gap − mean gap*): the largest of noisy differences is too large, "
        "Efron & Tibshirani 1993, ch. 10",
        bias_corrected=True,
    ),
    "worst": Disparity(
        "Worst group", worst, "extreme", _same, "min_g m; of a loss max_g m", _has_direction
    ),
    "best": Disparity(
        "Best group", best, "extreme", _same, "max_g m; of a loss min_g m", _has_direction
    ),
    "ratio": Disparity(
        "Ratio",
        ratio,
        "log_range",
        lambda bounds: (0.0, 1.0),
        "min_g m / max_g m",
        _is_fraction,
        scale=np.log,
    ),
    "std": Disparity("Standard deviation", std, "spread", _width, "√(mean_g (m_g − mean_g m)²)"),
    "es_std": Disparity(
        "Equity-scaled (std)",
        lambda groups, overall, metric: overall / (1 + groups.std(0)),
        "centred",
        _same,
        "m / (1 + std_g m), FairMedFM (Jin et al. 2024)",
        _is_utility,
    ),
    "es_dev": Disparity(
        "Equity-scaled (deviations)",
        lambda groups, overall, metric: overall / (1 + np.abs(groups - overall).sum(0)),
        "centred",
        _same,
        "m / (1 + Σ_g |m − m_g|), FairVision (Luo et al. 2023)",
        _is_utility,
    ),
    "skewness": Disparity(
        "Skewness",
        skewness,
        "log_range",
        lambda bounds: (1.0, np.inf),
        "(1 − min_g m) / (1 − max_g m), Puyol-Antón et al. 2021",
        _is_utility,
        scale=lambda values: np.log1p(-values),
    ),
}
CORE = ("gap", "gap_corrected", "worst")  # of every run; the others follow from the groups

CRITERION = "criterion"  # the column `group` of a criterion's row
CRITERIA: dict[str, Criterion] = {
    "demographic_parity_difference": Criterion(
        "Demographic parity difference",
        ("selection_rate",),
        "gap of the selection rate; 0 is parity, Dwork et al. 2012",
    ),
    "demographic_parity_ratio": Criterion(
        "Demographic parity ratio",
        ("selection_rate",),
        "smallest over largest selection rate; 1 is parity",
        "ratio",
    ),
    "equal_opportunity_difference": Criterion(
        "Equal opportunity difference",
        ("tpr",),
        "gap of the sensitivity; 0 is fair, Hardt et al. 2016",
    ),
    "equalized_odds_difference": Criterion(
        "Equalized odds difference",
        ("tpr", "fpr"),
        "larger of the gaps of sensitivity and false positive rate; 0 is fair, "
        "Hardt et al. 2016, as fairlearn",
    ),
    "equalized_odds_mean_difference": Criterion(
        "Equalized odds difference (mean)",
        ("tpr", "fpr"),
        "mean of the two gaps; 0 is fair",
        combine=np.mean,
    ),
    "eod": Criterion(
        "EOD",
        ("tpr", "tnr"),
        "1 − (gap of sensitivity + gap of specificity) / 2; 1 is fair, FairMedFM (Jin et al. 2024)",
        combine=np.mean,
        complement=True,
    ),
    "predictive_parity_difference": Criterion(
        "Predictive parity difference",
        ("ppv",),
        "gap of the precision; 0 is fair, Chouldechova 2017",
    ),
    "underdiagnosis_gap": Criterion(
        "Underdiagnosis gap",
        ("fnr",),
        "gap of the false negative rate; 0 is fair, Seyyed-Kalantari et al. 2021",
    ),
    "overdiagnosis_gap": Criterion(
        "Overdiagnosis gap",
        ("fpr",),
        "gap of the false positive rate; 0 is fair, Seyyed-Kalantari et al. 2021",
    ),
}
