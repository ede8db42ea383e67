"""The weights of replicates in the layout of a run: gathers, and sums within subgroups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fairjax.metrics.layout import Layout
from fairjax.metrics.subgroups import BLOCK, PIECE, Subgroups

Take = Callable[[Array, int], Array]  # (array, axis) → a piece of it along the axis

EXACT = lax.Precision.HIGHEST  # accelerators would otherwise round weights to bfloat16 or tf32


@dataclass
class Entries:
    """The weights of B replicates in one run's layout, and what several statistics share.

    Attributes:
      subgroups: the subgroups.
      layout: the run's layout.
      weights: for either label, (BLOCK, k, B) weight of each entry; 0 for padding.
    """

    subgroups: Subgroups
    layout: Layout
    weights: tuple[Float[Array, "t k0 b"], Float[Array, "t k1 b"]]

    @cached_property
    def earlier(self) -> tuple[Float[Array, "e0 b"], Float[Array, "e1 b"]]:
        """For either label, the weight of all earlier entries of the subgroup, [t, k] flattened."""
        of_0, of_1 = map(_cumulate, self.weights, self.subgroups.subgroup)
        return of_0, of_1

    @cached_property
    def negatives_not_lower(self) -> Float[Array, "t k1 b"]:
        """For each positive, the weight of the negatives of its subgroup with the same or a higher
        score.
        """
        return take(self.earlier[0], self.layout.not_lower)

    def sum_over_subgroups(self, values: Float[Array, "t k b"], label: int) -> Float[Array, "c b"]:
        """Sums per-entry values of one label over the entries of each subgroup."""
        blocks = jnp.einsum("t,tkb->kb", np.ones(BLOCK, values.dtype), values, precision=EXACT)
        return combine_blocks(blocks, self.subgroups.subgroup[label], self.subgroups.n_subgroups)


def sum_in_pieces(
    blocks_of: Callable[[Take], Array],
    subgroup: Int[Array, " k"],
    n_subgroups: int,
) -> Float[Array, " c *b"]:
    """Sums over the blocks of each subgroup; many are summed piece by piece, to bound memory.

    Args:
      blocks_of: given `take(array, axis)`, which cuts the piece out of an array along its axis of
        blocks, the sums of the piece's blocks.
      subgroup: (k,) subgroup of each block.
      n_subgroups: subgroups.
    """
    n_pieces = subgroup.shape[0] // PIECE
    if n_pieces < 2:
        return combine_blocks(blocks_of(lambda array, axis: array), subgroup, n_subgroups)

    def of_piece(number: Array | int) -> Array:
        def take(array: Array, axis: int) -> Array:
            return lax.dynamic_slice_in_dim(array, number * PIECE, PIECE, axis)

        return combine_blocks(blocks_of(take), take(subgroup, 0), n_subgroups)

    return lax.fori_loop(1, n_pieces, lambda number, total: total + of_piece(number), of_piece(0))


def take(values: Float[Array, "n b"], index: Int[Array, "*e"]) -> Float[Array, "*e b"]:
    """Gathers rows; an index past the end reads 0.

    The barrier keeps XLA from fusing the gather into what reads it, where on a CPU it would be done
    element by element.
    """
    return lax.optimization_barrier(jnp.asarray(values).at[index].get(mode="fill", fill_value=0))


def combine_blocks(
    blocks: Float[Array, " k *b"], subgroup: Int[Array, " k"], n_subgroups: int
) -> Float[Array, " c *b"]:
    """Sums per-block values over the blocks of each subgroup, as a product, which is faster than a
    scatter.
    """
    is_of_subgroup = (subgroup == jnp.arange(n_subgroups)[:, None]).astype(blocks.dtype)
    return jnp.tensordot(is_of_subgroup, blocks, 1, precision=EXACT)


def _cumulate(weights: Float[Array, "t k b"], subgroup: Int[Array, " k"]) -> Float[Array, "e b"]:
    """Exclusive cumulative sum within subgroups: a triangular product in each block."""
    totals = jnp.einsum("t,tkb->kb", np.ones(BLOCK, weights.dtype), weights, precision=EXACT)
    with_earlier = jnp.concatenate([weights, _earlier_blocks(totals, subgroup)[None]])
    lower = np.concatenate(
        [np.tril(np.ones((BLOCK, BLOCK)), -1), np.ones((BLOCK, 1))], axis=1
    ).astype(weights.dtype)
    cumulative = jnp.einsum("st,tkb->skb", lower, with_earlier, precision=EXACT)
    return cumulative.reshape(-1, weights.shape[-1])


def _earlier_blocks(totals: Float[Array, "k b"], subgroup: Int[Array, " k"]) -> Float[Array, "k b"]:
    """Sums the totals of all earlier blocks of the same subgroup.

    Sums are restarted, not subtracted, so that nothing cancels.
    """

    def combine(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        (left_starts, left_sum), (right_starts, right_sum) = left, right
        return left_starts | right_starts, right_sum + jnp.where(right_starts, 0, left_sum)

    starts = jnp.concatenate([jnp.ones(1, bool), subgroup[1:] != subgroup[:-1]])[:, None]
    previous = jnp.where(starts, 0, jnp.roll(totals, 1, axis=0))
    return lax.associative_scan(combine, (starts, previous))[1]
