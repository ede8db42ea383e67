"""Thresholds of groups under a parity constraint, with the randomised solution of Hardt, Price and
Srebro (2016).

Every group's thresholds trace a curve: the rate that is to be equal (x) against what is gained (y).
A mixture of two thresholds reaches any point of the curve's concave envelope; all groups take the x
at which the gain of all is largest. For equalized odds, x and y are FPR and TPR, both to be equal:
the groups go to the lowest of their envelopes at x, and a group that could do better ignores its
score with probability `ignore`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fairjax.utils.errors import UserError, lookup

_CHUNK = 2**21  # scores sorted at once, to bound memory
_TIE = 12  # decimals; gains that differ by less are the same but for rounding


class Thresholds(NamedTuple):
    """What groups decide by; the last column is of all samples together, for those whose group has
    no rule of its own.

    Attributes:
      thresholds: (r, g + 1, 2); the decision is s > t.
      share: (r, g + 1) probability of the first of the two.
      ignore: (r, g + 1) probability of a decision that ignores the score; 0 but for equalized odds.
      rate: (r,) what is equal between groups on the validation split: selection rate, TPR or FPR;
        also the probability of a positive decision where the score is ignored.
      gain: (r,) the objective on the validation split.
      has_own_rule: (g,) whether the group had both classes there; the others get the pooled rule.
    """

    thresholds: Float[np.ndarray, "r g+1 2"]
    share: Float[np.ndarray, "r g+1"]
    ignore: Float[np.ndarray, "r g+1"]
    rate: Float[np.ndarray, " r"]
    gain: Float[np.ndarray, " r"]
    has_own_rule: Bool[np.ndarray, " g"]


class _Envelope(NamedTuple):
    """Concave envelopes of q runs in one group, m points each, padded at the end by x = ∞."""

    x: Float[np.ndarray, "q m"]
    y: Float[np.ndarray, "q m"]
    thresholds: Float[np.ndarray, "q m"]


class _Counts(NamedTuple):
    """Positives and negatives of a group, and of those the ones above each threshold (q, m)."""

    tp: Int[np.ndarray, "q m"]
    fp: Int[np.ndarray, "q m"]
    p: int
    n: int


# Constraint → the rate x as a numerator and its total.
CONSTRAINTS: dict[str, Callable[[_Counts], tuple[np.ndarray, int]]] = {
    "demographic_parity": lambda c: (c.tp + c.fp, c.p + c.n),
    "equal_opportunity": lambda c: (c.tp, c.p),
    "equalized_odds": lambda c: (c.fp, c.n),
}
# Objective → y of a group as `numerator / total + constant`: integers, so that what is on a line is
# on a line.
OBJECTIVES: dict[str, Callable[[_Counts], tuple[np.ndarray, int, float]]] = {
    "accuracy": lambda c: (c.tp - c.fp, c.p + c.n, c.n / (c.p + c.n)),
    "balanced_accuracy": lambda c: (c.tp * c.n - c.fp * c.p, 2 * c.p * c.n, 0.5),
}
# Objective → what a common point of all ROC curves gains, from FPR, TPR, positives and negatives.
ROC_OBJECTIVES: dict[str, Callable[..., np.ndarray]] = {
    "accuracy": lambda fpr, tpr, p, n: (n * (1 - fpr) + p * tpr) / (p + n),
    "balanced_accuracy": lambda fpr, tpr, p, n: (1 - fpr + tpr) / 2,
}


def fit(
    scores_rn: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    n_groups: int,
    *,
    constraint: str,
    objective: str = "accuracy",
    grid_size: int = 1000,
) -> Thresholds:
    """Finds every run's thresholds per group on the validation split.

    Args:
      scores_rn: (r, n) scores, higher for positives.
      labels: (n,) in {0, 1}.
      codes: (n,) groups 0..n_groups-1; -1: unknown, counted in the pooled rule alone.
      n_groups: g.
      constraint: one of `CONSTRAINTS`.
      objective: `accuracy`, or `balanced_accuracy` (of each group, weighted by its size; for
        equalized odds that of all); the largest wins, and of equal ones the lowest rate.
      grid_size: the common rate is one of 0, 1/grid_size, … 1.

    Returns:
      The rules. The pooled one is on the envelope of all samples at the same rate. A run whose
      scores are not finite gets NaN.

    Raises:
      UserError: the constraint or objective is unknown, or the labels are all of one class.

    Source: Hardt, Price and Srebro 2016, sections 3.2 and 4; the grid as in fairlearn's
    ThresholdOptimizer.
    """
    lookup("constraint", constraint, CONSTRAINTS)
    lookup("objective", objective, OBJECTIVES)
    scores_rn, labels, codes = (
        np.asarray(scores_rn, np.float64),
        np.asarray(labels),
        np.asarray(codes),
    )
    if len(np.unique(labels)) < 2:
        raise UserError("thresholds need both classes in the validation split: use another split")
    own = np.array([len(np.unique(labels[codes == g])) == 2 for g in range(n_groups)], bool)
    step = max(1, _CHUNK // max(labels.size, grid_size + 1))
    parts = [
        _fit_chunk(
            scores_rn[start : start + step], labels, codes, own, constraint, objective, grid_size
        )
        for start in range(0, len(scores_rn), step)
    ]
    between, share, ignore, rate, gain = (np.concatenate(arrays) for arrays in zip(*parts))
    return Thresholds(between, share, ignore, rate, gain, own)


def apply(
    rule: Thresholds, scores_rn: Float[np.ndarray, "r n"], codes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "r n"]:
    """The probability of a positive decision for each sample.

    Args:
      rule: from `fit`.
      scores_rn: (r, n) scores of the same runs.
      codes: (n,) groups; -1 gets the pooled rule, as does a group without one of its own.

    Returns:
      (r, n) in [0, 1].
    """
    column = np.where(
        np.append(rule.has_own_rule, True), np.arange(len(rule.has_own_rule) + 1), -1
    )[codes]
    first, second = (scores_rn > rule.thresholds[:, column, k] for k in (0, 1))
    share, ignore = rule.share[:, column], rule.ignore[:, column]
    return ignore * rule.rate[:, None] + (1 - ignore) * (share * first + (1 - share) * second)


def missing(rule: Thresholds, groups: Sequence[str]) -> list[str]:
    """Names the groups that have no rule of their own."""
    return [
        f"{group} has one class on the validation split: pooled rule"
        for group, own in zip(groups, rule.has_own_rule)
        if not own
    ]


def _fit_chunk(
    scores, labels, codes, own, constraint: str, objective: str, grid_size: int
) -> tuple[np.ndarray, ...]:
    """Arrays of `Thresholds` without `has_own_rule`, for q runs."""
    finite = np.isfinite(scores).all(1)
    scores = np.where(finite[:, None], scores, 0)
    members = [codes == g for g in np.flatnonzero(own)]
    judged = np.any(members, 0) if members else np.ones(len(labels), bool)
    envelopes = [
        _envelope(scores[:, member], labels[member], constraint, objective)
        for member in [*members, np.ones(len(labels), bool)]
    ]
    constrained = envelopes[: len(members)] or envelopes
    grid = np.linspace(0, 1, grid_size + 1)
    curves = ([np.interp(grid, *points) for points in zip(e.x, e.y)] for e in constrained)
    if constraint == "equalized_odds":
        p = int(labels[judged].sum())
        tpr = np.min([np.array(curve) for curve in curves], 0)
        gains = ROC_OBJECTIVES[objective](grid, tpr, p, int(judged.sum()) - p)
    else:
        sizes = [member.sum() for member in members] or [1]
        gains = sum(np.multiply(curve, size / sum(sizes)) for curve, size in zip(curves, sizes))
    best = np.argmax(np.round(gains, _TIE), axis=1)
    rows = np.arange(len(scores))
    lowest = tpr[rows, best] if constraint == "equalized_odds" else None

    q, columns = len(scores), [*np.flatnonzero(own), len(own)]
    thresholds, share, ignore = (np.zeros((q, len(own) + 1, *ends)) for ends in ((2,), (), ()))
    for column, envelope in zip(columns, envelopes):
        thresholds[:, column], share[:, column], y = _mixture(envelope, grid[best])
        if lowest is not None:
            above = y - grid[best]  # the diagonal is where a rule that ignores the score lies
            ignore[:, column] = np.clip(
                np.divide(y - lowest, above, out=np.zeros(q), where=above > 0), 0, 1
            )
    missing = np.append(~own, False)
    for array in (thresholds, share, ignore):
        array[:, missing] = array[:, -1:]
        array[~finite] = np.nan
    return (
        thresholds,
        share,
        ignore,
        np.where(finite, grid[best], np.nan),
        np.where(finite, gains[rows, best], np.nan),
    )


def _envelope(scores, labels, constraint: str, objective: str) -> _Envelope:
    """Envelopes of one group's curve; candidates are above all scores, between two of them, and
    below all.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    upper = np.take_along_axis(scores, order, 1)
    lower = np.pad(upper[:, 1:], ((0, 0), (0, 1)), constant_values=-np.inf)
    between = np.minimum((upper + lower) / 2, np.nextafter(upper, -np.inf))
    thresholds = np.pad(between, ((0, 0), (1, 0)), constant_values=np.inf)
    distinct = np.pad(upper > lower, ((0, 0), (1, 0)), constant_values=True)
    tp = np.pad(np.cumsum(labels[order], 1, dtype=np.int64), ((0, 0), (1, 0)))
    positives = int(labels.sum())
    counts = _Counts(tp, np.arange(tp.shape[1]) - tp, positives, len(labels) - positives)
    x, total = CONSTRAINTS[constraint](counts)
    if constraint == "equalized_odds":
        y, scale, constant = counts.tp, counts.p, 0.0
    else:
        y, scale, constant = OBJECTIVES[objective](counts)
    stack, size = _hull(x, y, distinct)
    present = np.arange(stack.shape[1]) < size[:, None]
    x, y, thresholds = (
        np.take_along_axis(a, stack, 1) for a in (x / total, y / scale + constant, thresholds)
    )
    return _Envelope(np.where(present, x, np.inf), y, thresholds)


def _hull(x, y, allowed) -> tuple[Int[np.ndarray, "q h"], Int[np.ndarray, " q"]]:
    """Vertices of the upper hulls of q paths of m points with x non-decreasing: Andrew's monotone
    chain, in step.

    Each turn, every path either drops the last vertex of its stack or moves to its next point: at
    most 2m turns.

    Args:
      x: (q, m) integers, so that the test is exact.
      y: (q, m), likewise.
      allowed: (q, m) which points exist.

    Returns:
      (q, h) indices of the vertices, the largest count of them wide, and (q,) how many each path
      has.
    """
    q, m = x.shape
    stack, rows = np.zeros((q, m), np.int64), np.arange(q)
    size, index = np.zeros(q, np.int64), np.zeros(q, np.int64)
    while (going := index < m).any():
        point = np.minimum(index, m - 1)
        x2, y2 = x[rows, point], y[rows, point]
        # read only where there are as many
        last, before = stack[rows, size - 1], stack[rows, size - 2]
        x1, y1, x0, y0 = x[rows, last], y[rows, last], x[rows, before], y[rows, before]
        real = going & allowed[rows, point]
        level = (size >= 1) & (x1 == x2)
        skip = level & (y2 <= y1)
        drop = (
            real
            & ~skip
            & (level | ((size >= 2) & ((y1 - y0) * (x2 - x0) <= (y2 - y0) * (x1 - x0))))
        )
        push = real & ~skip & ~drop
        stack[rows[push], size[push]] = index[push]
        size += push.astype(np.int64) - drop
        index += going & ~drop
    return stack[:, : size.max()], size


def _mixture(
    envelope: _Envelope, rate: Float[np.ndarray, " q"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two thresholds (q, 2), the share of the first (q,), and y (q,), at x = `rate`."""
    left = np.maximum((envelope.x < rate[:, None]).sum(1) - 1, 0)[:, None]
    ends = np.concatenate([left, left + 1], 1)
    x, y, thresholds = (np.take_along_axis(array, ends, 1) for array in envelope)
    share = (x[:, 1] - rate) / (x[:, 1] - x[:, 0])
    return thresholds, share, share * y[:, 0] + (1 - share) * y[:, 1]
