"""Decision thresholds chosen on validation scores, for all runs at once; positive is s ≥ t."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fairjax.utils.errors import UserError, lookup

_CHUNK = 2**21  # scores sorted at once, to bound memory


class Rule(NamedTuple):
    """A row of `RULES`.

    Attributes:
      score: `(tp, fp, positives, negatives, target)` → what is to be largest, -inf where a
        threshold is not allowed. Exact in integers or in one division, so that ties are ties.
      has_target: whether the rule is written `name=target`.
      label: name in reports; `{}` is the target.
    """

    score: Callable[[np.ndarray, np.ndarray, int, int, float], np.ndarray]
    has_target: bool
    label: str


_SLACK = 1e-9  # 0.55 * 100 is more than 55 in floating point

RULES: dict[str, Rule] = {
    "f1": Rule(lambda tp, fp, p, n, target: 2 * tp / (tp + fp + p), False, "best F1"),
    "youden": Rule(lambda tp, fp, p, n, target: tp * n - fp * p, False, "best TPR + TNR (Youden)"),
    "sensitivity": Rule(
        lambda tp, fp, p, n, target: np.where(tp >= target * p - _SLACK, -(tp + fp), -np.inf),
        True,
        "highest with sensitivity ≥ {}",
    ),
    "specificity": Rule(
        lambda tp, fp, p, n, target: np.where(n - fp >= target * n - _SLACK, tp + fp, -np.inf),
        True,
        "lowest with specificity ≥ {}",
    ),
}


def parse_rule(rule: str | float) -> tuple[str | None, float]:
    """Splits `f1`, `sensitivity=0.9` or a number into the name of a rule (None: fixed) and its
    target (or the threshold).

    Raises:
      UserError: the rule is unknown, or its target is missing or not in [0, 1].
    """
    name, _, target = str(rule).partition("=")
    try:
        return None, float(name)
    except ValueError:
        has_target = lookup("threshold rule", name, RULES).has_target
    try:
        value = float(target) if has_target else np.nan
    except ValueError:
        value = -1.0
    if (has_target and not 0 <= value <= 1) or (target and not has_target):
        wanted = (
            f"{name}=0.9, with a target in [0, 1]" if has_target else f"{name}, without a target"
        )
        raise UserError(f"threshold rule {rule!r}: write {wanted}")
    return name, value


def choose_threshold(
    scores: Float[np.ndarray, "r n"], labels: Int[np.ndarray, " n"], rule: str | float = "f1"
) -> Float[np.ndarray, " r"]:
    """Chooses each run's threshold among its distinct scores, and one just above them all; of
    equally good ones the lowest.

    Args:
      scores: (R, n) probabilities of the positive class on the validation split.
      labels: (n,) in {0, 1}.
      rule: `f1`, `youden`, `sensitivity=TARGET` (the highest threshold that reaches it),
        `specificity=TARGET` (the lowest that does), or the threshold itself.

    Returns:
      (R,) thresholds in the precision of the scores; NaN for a run with scores that are not finite.

    Raises:
      UserError: the rule is unknown, or the labels are all of one class and the rule is not a fixed
        threshold.
    """
    scores, labels = np.atleast_2d(scores), np.asarray(labels)
    name, target = parse_rule(rule)
    if name is None:
        return np.full(len(scores), target, scores.dtype)
    positives = int((labels == 1).sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        raise UserError(
            f"threshold rule {rule!r} needs both classes, and the validation split has {positives} "
            f"positives and {negatives} negatives: use another split, or a fixed threshold"
        )
    thresholds = np.empty(len(scores), scores.dtype)
    step = max(1, _CHUNK // labels.size)
    for start in range(0, len(scores), step):
        order = np.argsort(-scores[start : start + step], axis=1)
        descending = np.take_along_axis(scores[start : start + step], order, 1)
        above_all = np.nextafter(descending[:, :1], np.array(np.inf, scores.dtype))
        candidates = np.concatenate([above_all, descending], axis=1)
        tp = np.pad(np.cumsum(labels[order], axis=1), ((0, 0), (1, 0)))
        fp = np.arange(labels.size + 1) - tp
        value = RULES[name].score(tp, fp, positives, negatives, target).astype(np.float64)
        # A tie is above the threshold as a whole.
        value[:, :-1][candidates[:, :-1] == candidates[:, 1:]] = -np.inf
        best = labels.size - np.argmax(value[:, ::-1], axis=1)
        thresholds[start : start + step] = np.take_along_axis(candidates, best[:, None], 1)[:, 0]
    return np.where(np.isfinite(scores).all(1), thresholds, np.nan).astype(scores.dtype)
