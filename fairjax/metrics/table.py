"""The table of metrics: one row each, and the statistics of which they are made.

A metric is a function of weighted tallies per subgroup. It names the tallies it `needs`, and only
those are computed: from `SUMS`, per-sample statistics that need no more than a weighted sum, all in
one product; or from `DERIVED`, functions of all weights in the layout of the scores. To add a
metric, add a row to `METRICS`, and one to `SUMS` or `DERIVED` if it needs a new tally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fairjax.metrics import calibration, ordered
from fairjax.metrics.entries import Entries
from fairjax.metrics.sums import LOG_CLAMP, SUMS
from fairjax.utils.errors import lookup


class Derived(NamedTuple):
    """A row of `DERIVED`.

    Attributes:
      compute: `(entries) -> (..., C, B)`.
      prepare: what it needs of a run's scores, `(subgroups, rows, scores, dtype) -> pytree`, found
        in `layout.prepared`.
    """

    compute: Callable[[Entries], Array]
    prepare: Callable[..., Any] | None = None


class Metric(NamedTuple):
    """A row of `METRICS`.

    Attributes:
      label: name in tables and figures.
      compute: `(tallies) -> (C, B)`; NaN where a denominator is 0.
      needs: names of tallies, from `SUMS` or `DERIVED`.
      higher_is_better: false for errors and losses, None where neither end is better in itself.
      bounds: smallest and largest possible value.
      source: formula or reference.
      resampling_biased: whether drawing with replacement shifts the statistic itself, as noise in
        every bin raises a calibration error: its replicates are then centred on the estimate before
        intervals are read off.
      chance: value of scores that know nothing; None where it depends on the data.
    """

    label: str
    compute: Callable[[Tallies], Float[Array, "c b"]]
    needs: tuple[str, ...]
    higher_is_better: bool | None
    bounds: tuple[float, float]
    source: str
    resampling_biased: bool = False
    chance: float | None = None

    @property
    def of_scores(self) -> bool:
        """Whether it is of scores; else it is of the decisions that a threshold makes of them."""
        return "above" not in self.needs


class Tallies:
    """Weighted tallies of each subgroup (C) in each replicate (B).

    Attributes:
      sums: name → (2, C, width, B), by label.
      derived: name → (..., C, B).
      threshold: decision threshold, scalar.
    """

    def __init__(self, sums: dict[str, Array], derived: dict[str, Array], threshold: Array):
        self.sums, self.derived, self.threshold = sums, derived, threshold
        self.negatives, self.positives = sums["weight"][:, :, 0]
        self.total = self.negatives + self.positives

    @property
    def fp(self) -> Float[Array, "c b"]:
        """False positives."""
        return self.sums["above"][0, :, 0]

    @property
    def tp(self) -> Float[Array, "c b"]:
        """True positives."""
        return self.sums["above"][1, :, 0]

    @property
    def tn(self) -> Float[Array, "c b"]:
        """True negatives."""
        return self.negatives - self.fp

    @property
    def fn(self) -> Float[Array, "c b"]:
        """False negatives."""
        return self.positives - self.tp

    def mean(self, name: str) -> Float[Array, "c b"]:
        """Mean of a summed statistic over all samples of the subgroup."""
        return divide(self.sums[name].sum(0)[:, 0], self.total)


def divide(a: Array, b: Array) -> Array:
    """`a / b`, NaN where `b` is 0."""
    return jnp.where(b == 0, jnp.nan, a / jnp.where(b == 0, 1, b))


DERIVED: dict[str, Derived] = {
    "discordance": Derived(ordered.discordance),
    "precision_area": Derived(ordered.precision_area),
    "median": Derived(ordered.median, ordered.values_of_entries),
    "recalibration": Derived(calibration.recalibration, calibration.prepare_logits),
}


def _calibration_error(t: Tallies) -> Array:
    return divide(jnp.abs(t.sums["residual_by_bin"].sum(0)).sum(1), t.total)


def _debiased_calibration_error(t: Tallies) -> Array:
    weight, score = jnp.split(t.sums["weight_and_score_by_mass"], 2, axis=2)
    return calibration.debiased_error(weight, score.sum(0), t.total)


def _net_benefit(t: Tallies) -> Array:
    odds = t.threshold / (1 - t.threshold)
    return divide(t.tp - t.fp * odds, t.total)


_UNIT = (0.0, 1.0)
METRICS: dict[str, Metric] = {
    "auc": Metric(
        "AUC",
        lambda t: 1 - divide(t.derived["discordance"], t.positives * t.negatives),
        ("discordance",),
        True,
        _UNIT,
        "Σ w_i w_j (1[s_i > s_j] + ½ 1[s_i = s_j]) / (W₊ W₋), Mann & Whitney 1947",
        chance=0.5,
    ),
    "auprc": Metric(
        "AUPRC",
        lambda t: divide(t.derived["precision_area"], t.positives),
        ("precision_area",),
        True,
        _UNIT,
        "average precision Σ (R_k − R_{k−1}) P_k over distinct scores, as scikit-learn",
    ),
    "acc": Metric(
        "Accuracy", lambda t: divide(t.tp + t.tn, t.total), ("above",), True, _UNIT, "(TP + TN) / W"
    ),
    "balanced_acc": Metric(
        "Balanced accuracy",
        lambda t: (divide(t.tp, t.positives) + divide(t.tn, t.negatives)) / 2,
        ("above",),
        True,
        _UNIT,
        "(TPR + TNR) / 2",
    ),
    "f1": Metric(
        "F1",
        lambda t: divide(2 * t.tp, 2 * t.tp + t.fp + t.fn),
        ("above",),
        True,
        _UNIT,
        "2 TP / (2 TP + FP + FN)",
    ),
    "tpr": Metric(
        "Sensitivity (TPR)", lambda t: divide(t.tp, t.positives), ("above",), True, _UNIT, "TP / W₊"
    ),
    "tnr": Metric(
        "Specificity (TNR)", lambda t: divide(t.tn, t.negatives), ("above",), True, _UNIT, "TN / W₋"
    ),
    "fpr": Metric(
        "False positive rate",
        lambda t: divide(t.fp, t.negatives),
        ("above",),
        False,
        _UNIT,
        "FP / W₋",
    ),
    "fnr": Metric(
        "False negative rate",
        lambda t: divide(t.fn, t.positives),
        ("above",),
        False,
        _UNIT,
        "FN / W₊",
    ),
    "ppv": Metric(
        "Precision (PPV)",
        lambda t: divide(t.tp, t.tp + t.fp),
        ("above",),
        True,
        _UNIT,
        "TP / (TP + FP)",
    ),
    "npv": Metric(
        "NPV", lambda t: divide(t.tn, t.tn + t.fn), ("above",), True, _UNIT, "TN / (TN + FN)"
    ),
    "selection_rate": Metric(
        "Selection rate",
        lambda t: divide(t.tp + t.fp, t.total),
        ("above",),
        None,
        _UNIT,
        "(TP + FP) / W",
    ),
    "bce": Metric(
        "Log loss",
        lambda t: t.mean("log_loss"),
        ("log_loss",),
        False,
        (0.0, -LOG_CLAMP),
        "mean −[y log s + (1 − y) log(1 − s)], each log at least −100",
    ),
    "brier": Metric(
        "Brier score",
        lambda t: t.mean("squared_error"),
        ("squared_error",),
        False,
        _UNIT,
        "mean (s − y)², Brier 1950",
    ),
    "ece": Metric(
        "Calibration error (ECE)",
        _calibration_error,
        ("residual_by_bin",),
        False,
        _UNIT,
        "Σ_b (W_b / W) |mean_b s − mean_b y|, 10 bins of equal width, Naeini et al. 2015",
        resampling_biased=True,
    ),
    "ece_debiased": Metric(
        "Calibration error (debiased, equal mass)",
        _debiased_calibration_error,
        ("weight_and_score_by_mass",),
        False,
        _UNIT,
        "√max(0, Σ_b (W_b / W) ((mean_b y − mean_b s)² − variance)), 10 bins of equal mass, "
        "Kumar et al. 2019",
    ),
    "calibration_slope": Metric(
        "Calibration slope",
        lambda t: t.derived["recalibration"][1],
        ("recalibration",),
        None,
        (-np.inf, np.inf),
        "slope of the logistic regression of y on logit s; 1 is calibrated, less is overconfident; "
        "Cox 1958",
    ),
    "calibration_intercept": Metric(
        "Calibration intercept",
        lambda t: t.derived["recalibration"][0],
        ("recalibration",),
        None,
        (-np.inf, np.inf),
        "intercept of the logistic regression of y on logit s; 0 is calibrated; Cox 1958",
    ),
    "net_benefit": Metric(
        "Net benefit",
        _net_benefit,
        ("above",),
        True,
        (-np.inf, 1.0),
        "TP / W − FP / W · t / (1 − t) at the decision threshold t, Vickers & Elkin 2006",
    ),
}


def _per_case(
    name: str, label: str, higher_is_better: bool, bounds: tuple[float, float], source: str
) -> dict[str, Metric]:
    """Rows of a metric that every case has: its mean and its median."""
    return {
        name: Metric(
            label,
            lambda t: t.mean("value"),
            ("value",),
            higher_is_better,
            bounds,
            f"mean of {source}",
        ),
        f"{name}_median": Metric(
            f"{label}, median",
            lambda t: t.derived["median"],
            ("median",),
            higher_is_better,
            bounds,
            f"median of {source}",
        ),
    }


METRICS |= {
    **_per_case("dice", "Dice", True, _UNIT, "2 |A ∩ B| / (|A| + |B|), Dice 1945"),
    **_per_case("iou", "IoU", True, _UNIT, "|A ∩ B| / |A ∪ B|, Jaccard 1912"),
    **_per_case(
        "nsd",
        "NSD",
        True,
        _UNIT,
        "the fraction of both surfaces within the tolerance, Nikolov et al. 2021",
    ),
    **_per_case(
        "hd95", "HD95", False, (0.0, np.inf), "the 95th percentile of the distance between surfaces"
    ),
}

CLASSIFICATION = tuple(
    name for name, metric in METRICS.items() if not {"value", "median"} & set(metric.needs)
)
DEFAULT = ("auc", "acc", "tpr", "tnr", "bce", "ece")


def summed(metrics: Iterable[str]) -> list[str]:
    """The statistics in `SUMS` that `metrics` need, `weight` among them."""
    needed = {name for metric in metrics for name in lookup("metric", metric, METRICS).needs}
    return ["weight", *(name for name in SUMS if name in needed)]


def derived(metrics: Iterable[str]) -> list[str]:
    """The statistics in `DERIVED` that `metrics` need."""
    needed = {name for metric in metrics for name in METRICS[metric].needs}
    return [name for name in DERIVED if name in needed]
