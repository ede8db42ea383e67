"""Statistics of the order of scores: cumulative weights within subgroups, read at the edges of tie
blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from fairjax.metrics.entries import Entries, take
from fairjax.metrics.subgroups import Subgroups


def discordance(entries: Entries) -> Float[Array, "c b"]:
    """Σ over positives i and negatives j of w_i w_j (1[s_i < s_j] + ½ 1[s_i = s_j])."""
    higher = take(entries.earlier[0], entries.layout.higher)
    return entries.sum_over_subgroups(
        entries.weights[1] * (higher + entries.negatives_not_lower) / 2, 1
    )


def precision_area(entries: Entries) -> Float[Array, "c b"]:
    """Σ over positives i of w_i · TP / (TP + FP) at the threshold s_i.

    TP and FP are summed from the highest score down, and not taken from the total: the first of
    them may be small.
    """
    tp, fp, weights = (
        take(entries.earlier[1], entries.layout.own),
        entries.negatives_not_lower,
        entries.weights[1],
    )
    return entries.sum_over_subgroups(
        jnp.where(weights > 0, weights * tp / jnp.where(weights > 0, tp + fp, 1), 0), 1
    )


def values_of_entries(
    subgroups: Subgroups,
    rows: tuple[Int[Array, "t k0"], Int[Array, "t k1"]],
    scores: Float[Array, " n"],
    dtype: DTypeLike,
) -> Float[Array, "t k0"]:
    """The value of each entry of label 0: values without classes all have that label."""
    return scores[jnp.minimum(rows[0], subgroups.n_samples - 1)].astype(dtype)


def median(entries: Entries) -> Float[Array, "c b"]:
    """Weighted median of each subgroup; between two values that halve the weight, their mean."""
    subgroup, n_subgroups, value = (
        entries.subgroups.subgroup[0],
        entries.subgroups.n_subgroups,
        entries.layout.prepared["median"][..., None],
    )
    weight = entries.weights[0]
    higher = entries.earlier[0].reshape(weight.shape)
    half = (entries.sum_over_subgroups(weight, 0) / 2)[subgroup]

    def over_subgroup(
        reduce: Callable[..., Array],
        combine: Callable[..., Array],
        allowed: Array,
        otherwise: float,
    ) -> Array:
        return combine(
            reduce(jnp.where((weight > 0) & allowed, value, otherwise), axis=0),
            subgroup,
            n_subgroups,
        )

    upper = over_subgroup(jnp.min, jax.ops.segment_min, higher < half, jnp.inf)
    lower = over_subgroup(jnp.max, jax.ops.segment_max, higher + weight > half, -jnp.inf)
    return jnp.where(jnp.isfinite(upper + lower), (upper + lower) / 2, jnp.nan)
