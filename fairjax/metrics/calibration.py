"""Calibration: errors over bins of equal width and of equal mass, and the slope and intercept of a
recalibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from fairjax.metrics.entries import EXACT, Entries, Take, combine_blocks, sum_in_pieces, take
from fairjax.metrics.logistic import newton_direction
from fairjax.metrics.subgroups import Subgroups

_LARGEST_LOGIT = 16.0  # scores closer to 0 or 1 than 1e-7 count as that close
_MAX_STEPS = 25
_LARGEST_STEP = 2.0  # of intercept or slope, so that a bad start does not overshoot
_CONVERGED = 1e-3  # a smaller step is the last: Newton's error after it is about its square


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logits:
    """What the logistic recalibration of each subgroup starts from.

    Attributes:
      value: (BLOCK, k) log-odds of each entry minus its subgroup's mean, for label 0 and label 1.
      mean: (C,) mean log-odds.
      start: (2, C) intercept at the mean and slope, fitted with equal weights: where the steps for
        replicates begin.
    """

    value: tuple[Float[Array, "*r t k0"], Float[Array, "*r t k1"]]
    mean: Float[Array, "*r c"]
    start: Float[Array, "*r 2 c"]


def debiased_error(
    weight: Float[Array, "2 c bins b"], score: Float[Array, "c bins b"], total: Float[Array, "c b"]
) -> Float[Array, "c b"]:
    """Root mean square calibration error over bins, less what chance alone would give.

    Args:
      weight: weight of each bin by label; weights are counts.
      score: weighted sum of scores in each bin.
      total: weight of each subgroup.

    Returns:
      √max(0, Σ_b W_b / W · ((mean_b y − mean_b s)² − ȳ_b (1 − ȳ_b) / (W_b − 1))); bins of weight 1
      or less are left out of the correction.

    Source: Kumar, Liang & Ma 2019, Verified uncertainty calibration, section 4.
    """
    in_bin = weight.sum(0)
    divisor = jnp.where(in_bin > 0, in_bin, 1)
    rate = weight[1] / divisor
    variance = jnp.where(in_bin > 1, rate * (1 - rate) / jnp.where(in_bin > 1, in_bin - 1, 1), 0)
    mean_square = (in_bin * ((rate - score / divisor) ** 2 - variance)).sum(1)
    return jnp.where(
        total > 0, jnp.sqrt(jnp.maximum(mean_square / jnp.where(total > 0, total, 1), 0)), jnp.nan
    )


def prepare_logits(
    subgroups: Subgroups,
    rows: tuple[Int[Array, "t k0"], Int[Array, "t k1"]],
    scores: Float[Array, " n"],
    dtype: DTypeLike,
) -> Logits:
    """Log-odds of every entry, and the recalibration of every subgroup with equal weights."""
    logit = jnp.clip(jnp.log(scores) - jnp.log1p(-scores), -_LARGEST_LOGIT, _LARGEST_LOGIT).astype(
        dtype
    )
    value = [logit[jnp.minimum(side, subgroups.n_samples - 1)] for side in rows]
    present = [(side < subgroups.n_samples).astype(dtype) for side in rows]

    def per_subgroup(parts: list[Array]) -> list[Array]:
        return [
            combine_blocks(part.sum(0), subgroup, subgroups.n_subgroups)
            for part, subgroup in zip(parts, subgroups.subgroup, strict=True)
        ]

    negatives, positives = per_subgroup(present)
    mean = sum(per_subgroup([v * p for v, p in zip(value, present, strict=True)])) / jnp.maximum(
        negatives + positives, 1
    )
    centred = [v - mean[subgroup] for v, subgroup in zip(value, subgroups.subgroup, strict=True)]
    # From slope 0 and the prevalence Newton's steps do not overshoot; from slope 1 they may go to
    # and fro for ever.
    prevalence = jnp.log(jnp.maximum(positives, 0.5)) - jnp.log(jnp.maximum(negatives, 0.5))
    start = jnp.stack([prevalence, jnp.zeros_like(mean)])[..., None]
    fitted, converged = _newton(subgroups, centred, [p[..., None] for p in present], start)
    return Logits((centred[0], centred[1]), mean, jnp.where(converged, fitted, start)[..., 0])


def recalibration(entries: Entries) -> Float[Array, "2 c b"]:
    """Intercept and slope of the logistic regression of the label on the log-odds of the score, in
    each subgroup.

    NaN where there is none: one class, constant scores, or classes that the score separates.

    Source: Cox 1958; Van Calster et al. 2019, Calibration: the Achilles heel of predictive
    analytics.
    """
    logits = entries.layout.prepared["recalibration"]
    n_replicates = entries.weights[0].shape[-1]
    start = jnp.broadcast_to(logits.start[..., None], (*logits.start.shape, n_replicates))
    (at_mean, slope), converged = _newton(entries.subgroups, logits.value, entries.weights, start)
    return jnp.where(converged, jnp.stack([at_mean - slope * logits.mean[:, None], slope]), jnp.nan)


def _newton(
    subgroups: Subgroups,
    value: Sequence[Array],
    weights: Sequence[Array],
    start: Float[Array, "2 c b"],
) -> tuple[Array, Array]:
    """Newton's steps for all subgroups and replicates; each stops when its own step is small."""

    def sums(label: int, parameters: Float[Array, "2 c b"]) -> Float[Array, "c 5 b"]:
        """Of one label, the two numbers of the score and the three of the information."""

        def blocks(piece: Take) -> Float[Array, "k 5 b"]:
            v, weight = piece(value[label], 1).T, jnp.swapaxes(piece(weights[label], 1), 0, 1)
            power = jnp.stack([jnp.ones_like(v), v, v * v], 1)  # (k, 3, t)
            of_block = [
                take(parameter, piece(subgroups.subgroup[label], 0))[:, None]
                for parameter in parameters
            ]
            probability = jax.nn.sigmoid(of_block[0] + of_block[1] * power[:, 1, :, None])
            residual = weight * (label - probability)
            information = weight * probability * (1 - probability)
            score = jnp.einsum("kjt,ktb->kjb", power[:, :2], residual, precision=EXACT)
            return jnp.concatenate(
                [score, jnp.einsum("kjt,ktb->kjb", power, information, precision=EXACT)], 1
            )

        return sum_in_pieces(blocks, subgroups.subgroup[label], subgroups.n_subgroups)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        number, parameters, _, active = state
        u, v, a, b, c = jnp.moveaxis(sums(0, parameters) + sums(1, parameters), 1, 0)
        change, determinant = newton_direction((u, v), (a, b, c))
        regular = determinant > 1e-6 * a * c
        change = jnp.where(regular, change / jnp.where(regular, determinant, 1), jnp.inf)
        converged = (jnp.abs(change) < _CONVERGED).all(0)
        change = jnp.clip(change, -_LARGEST_STEP, _LARGEST_STEP)
        return (
            number + 1,
            jnp.where(active, parameters + change, parameters),
            converged | ~active,
            active & ~converged,
        )

    def unfinished(state: tuple[Any, ...]) -> Array:
        number, _, _, active = state
        return active.any() & (number < _MAX_STEPS)

    none_yet = jnp.zeros(start.shape[1:], bool)
    _, parameters, converged, _ = lax.while_loop(unfinished, step, (0, start, none_yet, ~none_yet))
    return parameters, converged
