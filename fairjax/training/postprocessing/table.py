"""Post-processing: rules per group, fitted on the validation split's scores and applied to the test
split's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from fairjax.training.postprocessing import calibration, thresholds
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.random import stream

SCORES, DECISIONS = "scores", "decisions"


class Postprocessor(NamedTuple):
    """A row of `POSTPROCESSORS`; a rule is whatever its `fit` gives.

    Attributes:
      title: what reports call it.
      paper: where it was proposed.
      fit: `(scores_rn, labels, codes, n_groups, **options)` → the rule of each of r runs.
      apply: `(rule, scores_rn, codes)` → (r, n); code -1 gets the pooled rule.
      missing: `(rule, groups)` → a phrase for every group that has no rule of its own.
      gives: `scores`, or `decisions`: probabilities of a positive one, which `draw` decides by.
      options: names that `fit` takes.
    """

    title: str
    paper: str
    fit: Callable[..., Any]
    apply: Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
    missing: Callable[[Any, Sequence[str]], list[str]] = lambda rule, groups: []
    gives: str = SCORES
    options: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether decisions are what comes of it."""
        return self.gives == DECISIONS


def _parity(title: str, constraint: str) -> Postprocessor:
    return Postprocessor(
        title,
        "Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, 2016",
        functools.partial(thresholds.fit, constraint=constraint),
        thresholds.apply,
        thresholds.missing,
        DECISIONS,
        ("objective", "grid_size"),
    )


POSTPROCESSORS: dict[str, Postprocessor] = {
    "demographic_parity": _parity("thresholds for demographic parity", "demographic_parity"),
    "equal_opportunity": _parity("thresholds for equal opportunity", "equal_opportunity"),
    "equalized_odds": _parity("thresholds for equalized odds", "equalized_odds"),
    "temperature": Postprocessor(
        "temperature per group",
        "Guo et al., On Calibration of Modern Neural Networks, 2017",
        functools.partial(calibration.fit, intercept=False),
        calibration.apply,
        calibration.missing,
    ),
    "platt": Postprocessor(
        "Platt scaling per group",
        "Platt, Probabilistic Outputs for SVMs, 1999",
        functools.partial(calibration.fit, intercept=True),
        calibration.apply,
        calibration.missing,
    ),
}


def fit(
    name: str,
    scores_rn: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    n_groups: int,
    **options: Any,
) -> Any:
    """Fits a row of `POSTPROCESSORS` to validation scores, each run by itself.

    Args:
      name: name of the row.
      scores_rn: (r, n) probabilities of the positive class.
      labels: (n,) in {0, 1}.
      codes: (n,) groups 0..n_groups-1, or -1 if unknown.
      n_groups: g.
      **options: those of the row.

    Returns:
      The rule.

    Raises:
      UserError: the name or an option is unknown, shapes do not fit, or labels or codes are not
        what they must be.
    """
    row = lookup("post-processor", name, POSTPROCESSORS)
    scores_rn, labels, codes = np.asarray(scores_rn), np.asarray(labels), np.asarray(codes)
    shapes = {labels.shape, codes.shape}
    if scores_rn.ndim != 2 or not scores_rn.size or shapes != {scores_rn.shape[1:]}:
        raise UserError(
            f"post-processing needs scores (r, n) with n labels and n groups, not "
            f"{scores_rn.shape}, {labels.shape} and {codes.shape}"
        )
    if not np.isin(labels, (0, 1)).all() or codes.min() < -1 or codes.max() >= n_groups:
        raise UserError(
            f"post-processing needs labels 0 and 1, and groups from -1 to {n_groups - 1}"
        )
    for option in options:
        lookup(f"option of {name}", option, dict.fromkeys(row.options))
    return row.fit(scores_rn, labels.astype(np.int64), codes, n_groups, **options)


def apply(
    name: str, rule: Any, scores_rn: Float[np.ndarray, "r n"], codes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "r n"]:
    """Gives calibrated scores, or probabilities of a positive decision, by what the row `gives`.

    Args:
      name: name of the row that made the rule.
      rule: from `fit`.
      scores_rn: (r, n) scores of the same runs in the same order.
      codes: (n,) groups; -1 gets the pooled rule.
    """
    row = lookup("post-processor", name, POSTPROCESSORS)
    return row.apply(rule, np.asarray(scores_rn), np.asarray(codes))


def draw(
    key: Key[Array, ""], probabilities_rn: Float[np.ndarray, "r n"], seeds: Int[np.ndarray, " r"]
) -> Bool[np.ndarray, "r n"]:
    """Decides: positive where a uniform number is below the probability.

    Args:
      key: key of the whole experiment.
      probabilities_rn: (r, n) from `apply`.
      seeds: (r,) of the runs. Runs of one seed share their numbers, whatever else is there, so that
        methods are compared on the same draws.

    Returns:
      (r, n) decisions; a NaN decides False.
    """
    n = np.shape(probabilities_rn)[1]
    numbers = {
        int(seed): np.asarray(jax.random.uniform(stream(key, "decision", int(seed)), (n,)))
        for seed in seeds
    }
    return np.stack([numbers[int(seed)] < row for seed, row in zip(seeds, probabilities_rn)])


def notes(name: str, rule: Any, groups: Sequence[str]) -> list[str]:
    """Makes one sentence for every group that has no rule of its own, for the log and the report.

    Args:
      name: name of the row that made the rule.
      rule: from `fit`.
      groups: names of the g groups.
    """
    row = lookup("post-processor", name, POSTPROCESSORS)
    return [f"{row.title}: {phrase}" for phrase in row.missing(rule, groups)]
