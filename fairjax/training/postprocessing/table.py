"""Post-processing: rules per group, fitted on the validation split's scores and applied to the test
split's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from fairjax.training.postprocessing import calibration, thresholds
from fairjax.training.postprocessing.calibration import Calibration
from fairjax.training.postprocessing.thresholds import Thresholds
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.random import stream

Rule = Calibration | Thresholds


class Postprocessor(NamedTuple):
    """A row of `POSTPROCESSORS`.

    Attributes:
      title: as written in reports.
      paper: where it was proposed.
      fit: `(scores_rn, labels, codes, n_groups, **options)` → the rule.
      apply: `(rule, scores_rn, codes)` → (r, n).
      gives: `scores`, or `decisions`: probabilities of a positive one, which `draw` decides by.
      rule: the type of the rule.
    """

    title: str
    paper: str
    fit: Callable[..., Rule]
    apply: Callable[..., np.ndarray]
    gives: str
    rule: type


_HARDT = "Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, 2016"


def _parity(title: str, constraint: str) -> Postprocessor:
    fit = functools.partial(thresholds.fit, constraint=constraint)
    return Postprocessor(title, _HARDT, fit, thresholds.apply, "decisions", Thresholds)


def _line(title: str, paper: str, intercept: bool) -> Postprocessor:
    fit = functools.partial(calibration.fit, intercept=intercept)
    return Postprocessor(title, paper, fit, calibration.apply, "scores", Calibration)


POSTPROCESSORS: dict[str, Postprocessor] = {
    "demographic_parity": _parity("thresholds for demographic parity", "demographic_parity"),
    "equal_opportunity": _parity("thresholds for equal opportunity", "equal_opportunity"),
    "equalized_odds": _parity("thresholds for equalized odds", "equalized_odds"),
    "temperature": _line(
        "temperature per group",
        "Guo et al., On Calibration of Modern Neural Networks, 2017",
        intercept=False,
    ),
    "platt": _line(
        "Platt scaling per group", "Platt, Probabilistic Outputs for SVMs, 1999", intercept=True
    ),
}


def fit(
    name: str,
    scores_rn: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    n_groups: int,
    **options: Any,
) -> Rule:
    """Fits a row of `POSTPROCESSORS` to validation scores, each run by itself.

    Args:
      name: of the row.
      scores_rn: (r, n) probabilities of the positive class.
      labels: (n,) in {0, 1}.
      codes: (n,) groups 0..n_groups-1, or -1 where unknown.
      n_groups: g.
      **options: of thresholds: `objective`, `grid_size`.

    Returns:
      The rule: a tuple of arrays. Its `own` says which groups have rules of their own; the others
        have the pooled one.

    Raises:
      UserError: the name or an option is unknown, shapes do not fit, or labels or codes are not
        what they must be.
    """
    row = lookup("post-processor", name, POSTPROCESSORS)
    scores_rn, labels, codes = np.asarray(scores_rn), np.asarray(labels), np.asarray(codes)
    if (
        scores_rn.ndim != 2
        or not scores_rn.size
        or {labels.shape, codes.shape} != {scores_rn.shape[1:]}
    ):
        raise UserError(
            f"post-processing needs scores (r, n) with n labels and n groups, not {scores_rn.shape}, {labels.shape} "
            f"and {codes.shape}"
        )
    if not np.isin(labels, (0, 1)).all() or codes.min() < -1 or codes.max() >= n_groups:
        raise UserError(
            f"post-processing needs labels 0 and 1, and groups from -1 to {n_groups - 1}"
        )
    if row.rule is Calibration and options:
        raise UserError(f"{name} has no options, unlike {', '.join(options)}")
    return row.fit(scores_rn, labels.astype(np.int64), codes, n_groups, **options)


def apply(
    name: str, rule: Rule, scores_rn: Float[np.ndarray, "r n"], codes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "r n"]:
    """Calibrated scores, or probabilities of a positive decision, by what the row `gives`.

    Args:
      name: of the row that made the rule.
      rule: from `fit`.
      scores_rn: (r, n) test scores of the same runs in the same order.
      codes: (n,) groups; -1 gets the pooled rule.

    Returns:
      (r, n).
    """
    return lookup("post-processor", name, POSTPROCESSORS).apply(
        rule, np.asarray(scores_rn), np.asarray(codes)
    )


def draw(
    key: Key[Array, ""], probabilities_rn: Float[np.ndarray, "r n"], seeds: Int[np.ndarray, " r"]
) -> Bool[np.ndarray, "r n"]:
    """Decides: positive where a uniform number is below the probability.

    Args:
      key: of the whole experiment.
      probabilities_rn: (r, n) from `apply`.
      seeds: (r,) of the runs. Runs of one seed share their numbers, whoever else is there, so that
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


def notes(name: str, rule: Rule, groups: list[str]) -> list[str]:
    """One sentence for every group that has no rule of its own, for the log and the report.

    Args:
      name: of the row that made the rule.
      rule: from `fit`.
      groups: names of the g groups.
    """
    row = lookup("post-processor", name, POSTPROCESSORS)
    if isinstance(rule, Thresholds):
        missing = [group for group, own in zip(groups, rule.own) if not own]
        return [
            f"{row.title}: {group} has one class on the validation split: pooled rule"
            for group in missing
        ]
    lines = [
        f"{row.title}: {group} has no finite optimum in {count} of {len(rule.own)} runs: pooled rule there"
        for group, count in zip(groups, (~rule.own[:, :-1]).sum(0))
        if count
    ]
    unchanged = int((~rule.own[:, -1]).sum())
    return lines + (
        [f"{row.title}: no pooled rule in {unchanged} runs: scores unchanged there"]
        if unchanged
        else []
    )
