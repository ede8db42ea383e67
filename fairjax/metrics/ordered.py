"""Statistics of the order of scores: cumulative weights within cells, read at the edges of tie blocks."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from fairjax.metrics.entries import Entries, take


def discordance(entries: Entries) -> Float[Array, "c b"]:
    """Σ over positives i and negatives j of w_i w_j (1[s_i < s_j] + ½ 1[s_i = s_j])."""
    higher = take(entries.earlier[0], entries.layout.higher)
    return entries.sum_over_cells(entries.weights[1] * (higher + entries.negatives_not_lower) / 2, 1)


def precision_area(entries: Entries) -> Float[Array, "c b"]:
    """Σ over positives i of w_i · TP / (TP + FP) at the threshold s_i.

    TP and FP are summed from the highest score down, and not taken from the total: the first of them may be small.
    """
    tp, fp, weights = take(entries.earlier[1], entries.layout.own), entries.negatives_not_lower, entries.weights[1]
    return entries.sum_over_cells(jnp.where(weights > 0, weights * tp / jnp.where(weights > 0, tp + fp, 1), 0), 1)
