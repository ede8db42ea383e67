"""Calibration per group: one temperature (Guo et al. 2017) or one logistic line (Platt 1999), for
all runs at once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from fairjax.metrics.logistic import newton_direction

EPSILON = 2.0**-23  # a float32 score nearer to 0 or 1 than this has no logit
TOLERANCE = 1e-6  # of the gradient of the mean log loss, for logits of unit spread
MAX_STEPS = 100
FRACTIONS = np.array([1, 1 / 4, 1 / 16, 1 / 64, 0], np.float32)  # of a Newton step that are tried
# scores × groups at once, to bound memory: a step's fractions hold five times as many
_CHUNK = 2**20


class Calibration(NamedTuple):
    """σ(slope · logit(s) + intercept) per group; the last column is of all samples together.

    Attributes:
      slope: (r, g + 1), one over the temperature.
      intercept: (r, g + 1), 0 for temperatures.
      has_own_rule: (r, g + 1) whether this run and group has an optimum of its own. If not (one
        class alone, classes that a threshold separates, for a temperature also scores no better
        than chance, a Newton that did not converge), the group has the pooled line; if the
        pooled line has none either, scores stay as they are.
    """

    slope: Float[np.ndarray, "r g+1"]
    intercept: Float[np.ndarray, "r g+1"]
    has_own_rule: Bool[np.ndarray, "r g+1"]


def fit(
    scores_rn: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    n_groups: int,
    *,
    intercept: bool,
) -> Calibration:
    """Minimises each run's and group's log loss on the validation split.

    Args:
      scores_rn: (r, n) probabilities of the positive class; taken into [2⁻²³, 1 − 2⁻²³].
      labels: (n,) in {0, 1}.
      codes: (n,) groups 0..n_groups-1; -1: unknown, counted in the pooled line alone.
      n_groups: g.
      intercept: True for Platt's line, False for a temperature.

    Returns:
      The lines; NaN for a run whose scores are not finite.

    Source: Guo et al. 2017, section 4.2; Platt 1999, section 2.2, without its smoothed targets.
    """
    scores_rn, labels = np.asarray(scores_rn), np.asarray(labels)
    member_gn = np.concatenate(
        [np.arange(n_groups)[:, None] == codes, np.ones((1, len(codes)), bool)]
    )
    step = max(1, _CHUNK // (labels.size * len(member_gn)))
    parts = []
    for start in range(0, len(scores_rn), step):
        chunk = scores_rn[start : start + step]
        padded = np.concatenate(
            [chunk, np.repeat(chunk[-1:], min(step, len(scores_rn)) - len(chunk), 0)]
        )
        fitted = _fit(
            jnp.asarray(logit(padded)),
            jnp.asarray(labels),
            jnp.asarray(member_gn),
            intercept=intercept,
        )
        parts.append([np.asarray(array)[: len(chunk)] for array in fitted])
    slope, shift, own = (np.concatenate(arrays) for arrays in zip(*parts))
    slope[:, -1] = np.where(own[:, -1], slope[:, -1], 1)
    shift[:, -1] = np.where(own[:, -1], shift[:, -1], 0)
    slope, shift = np.where(own, slope, slope[:, -1:]), np.where(own, shift, shift[:, -1:])
    lost = ~np.isfinite(scores_rn).all(1)
    slope[lost], shift[lost] = np.nan, np.nan
    return Calibration(slope, shift, own & ~lost[:, None])


def apply(
    rule: Calibration, scores_rn: Float[np.ndarray, "r n"], codes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "r n"]:
    """Calibrated scores.

    Args:
      rule: from `fit`.
      scores_rn: (r, n) probabilities of the same runs.
      codes: (n,) groups; -1 gets the pooled line.

    Returns:
      (r, n) probabilities.
    """
    z = rule.slope[:, codes] * logit(scores_rn) + rule.intercept[:, codes]
    return np.where(z > 0, 1 / (1 + np.exp(-np.abs(z))), 1 - 1 / (1 + np.exp(-np.abs(z)))).astype(
        scores_rn.dtype
    )


def missing(rule: Calibration, groups: Sequence[str]) -> list[str]:
    """Names the groups that have no line of their own, and counts the runs without a pooled one."""
    runs = len(rule.has_own_rule)
    lines = [
        f"{group} has no finite optimum in {count} of {runs} runs: pooled rule there"
        for group, count in zip(groups, (~rule.has_own_rule[:, :-1]).sum(0))
        if count
    ]
    if unchanged := int((~rule.has_own_rule[:, -1]).sum()):
        lines.append(f"no pooled rule in {unchanged} runs: scores unchanged there")
    return lines


def logit(scores: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r n"]:
    """log(s / (1 − s)) of scores taken into [2⁻²³, 1 − 2⁻²³], in the precision of the scores."""
    s = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    return (np.log(s) - np.log1p(-s)).astype(scores.dtype)


@jax.jit(static_argnames="intercept")
def _fit(
    logits_rn: Float[Array, "r n"],
    labels: Int[Array, " n"],
    member_gn: Bool[Array, "g n"],
    *,
    intercept: bool,
) -> tuple[Float[Array, "r g"], Float[Array, "r g"], Bool[Array, "r g"]]:
    logits_rn = logits_rn.astype(jnp.float32)
    weights = member_gn.astype(jnp.float32)
    size = jnp.maximum(weights.sum(1), 1)

    def over(values_rn):
        return jnp.einsum("...rn,gn->...rg", values_rn, weights) / size

    # Newton's 2 × 2 system is well conditioned where logits have mean 0 and spread 1.
    centre = over(logits_rn) * intercept
    spread = jnp.sqrt(
        jax.vmap(lambda m, c: (m * (logits_rn - c[:, None]) ** 2).sum(1), (0, 1), 1)(
            weights, centre
        )
    )
    spread = jnp.maximum(spread / jnp.sqrt(size), 1e-6)
    newton = functools.partial(_newton, y_n=labels.astype(jnp.float32), intercept=intercept)

    def run(z_n, centre_g, spread_g):
        z_gn = (z_n - centre_g[:, None]) / spread_g[:, None]
        possible = _has_optimum(z_n, labels, member_gn, intercept)
        line, converged = jax.vmap(newton)(z_gn, weights, possible)
        slope = line[:, 0] / spread_g
        return slope, line[:, 1] - slope * centre_g, converged

    return jax.vmap(run)(logits_rn, centre, spread)


def _newton(
    z_n: Array, member_n: Array, has_optimum: Array, *, y_n: Array, intercept: bool
) -> tuple[Float[Array, " 2"], Bool[Array, ""]]:
    """Slope and intercept of one run and group, and whether Newton's method got there; no step
    raises the loss.
    """
    tolerance = TOLERANCE * jnp.sum(member_n)

    def loss(line):
        z = line[0] * z_n + line[1]
        return jnp.sum(member_n * (jax.nn.softplus(z) - y_n * z))

    def derivatives(line):
        p = jax.nn.sigmoid(line[0] * z_n + line[1])
        residual, curvature = member_n * (p - y_n), member_n * p * (1 - p)
        gradient = jnp.array([jnp.sum(residual * z_n), jnp.sum(residual) * intercept])
        a, c = jnp.sum(curvature * z_n**2), jnp.sum(curvature)
        b = jnp.sum(curvature * z_n) * intercept
        direction, determinant = newton_direction((gradient[0], gradient[1]), (a, b, c))
        return gradient, direction / jnp.maximum(determinant, 1e-12)

    def going(carry):
        _, (gradient, _), count = carry
        return has_optimum & (jnp.max(jnp.abs(gradient)) > tolerance) & (count < MAX_STEPS)

    def step(carry):
        line, (_, direction), count = carry
        lines = line - FRACTIONS[:, None] * direction
        losses = jax.vmap(loss)(lines)
        # the longest of those as good but for rounding
        line = lines[jnp.argmax(losses <= jnp.min(losses) * (1 + 1e-6))]
        return line, derivatives(line), count + 1

    start = jnp.array([1.0, 0.0])
    line, (gradient, _), _ = jax.lax.while_loop(going, step, (start, derivatives(start), 0))
    return line, has_optimum & (jnp.max(jnp.abs(gradient)) <= tolerance)


def _has_optimum(z_n: Array, labels: Array, member_gn: Array, intercept: bool) -> Bool[Array, " g"]:
    """Whether the log loss has a finite minimum, and for a temperature a positive one.

    With an intercept it has one where no threshold separates the classes either way; without, where
    some sample is on the wrong side of 0 and the loss falls as the slope leaves 0.
    """
    positive, negative = member_gn & (labels == 1), member_gn & (labels == 0)

    def extreme(who, reduce, empty):
        return reduce(jnp.where(who, z_n, empty), axis=1)

    low_p, high_p = extreme(positive, jnp.min, jnp.inf), extreme(positive, jnp.max, -jnp.inf)
    low_n, high_n = extreme(negative, jnp.min, jnp.inf), extreme(negative, jnp.max, -jnp.inf)
    both = positive.any(1) & negative.any(1)
    if intercept:
        return both & (low_p < high_n) & (low_n < high_p)
    return both & ((low_p < 0) | (high_n > 0)) & (jnp.sum(member_gn * (labels - 0.5) * z_n, 1) > 0)
