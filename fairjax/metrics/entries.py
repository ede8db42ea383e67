"""The weights of replicates in the layout of a run: gathers, and sums within cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fairjax.metrics.cells import BLOCK, PIECE, Cells
from fairjax.metrics.layout import Layout

EXACT = lax.Precision.HIGHEST  # accelerators would otherwise round weights to bfloat16 or tf32


@dataclass
class Entries:
    """The weights of B replicates in one run's layout, and what several statistics share.

    Attributes:
      cells: The cells.
      layout: The run's layout.
      weights: For either label, (BLOCK, k, B) weight of each entry; 0 for padding.
    """

    cells: Cells
    layout: Layout
    weights: tuple[Float[Array, "t k0 b"], Float[Array, "t k1 b"]]

    @cached_property
    def earlier(self) -> tuple[Float[Array, "e0 b"], Float[Array, "e1 b"]]:
        """For either label, the weight of all earlier entries of the same cell, [t, k] flattened."""
        return _cumulate(self.weights[0], self.cells.cell[0]), _cumulate(
            self.weights[1], self.cells.cell[1]
        )

    @cached_property
    def negatives_not_lower(self) -> Float[Array, "t k1 b"]:
        """For each positive, the weight of the negatives of its cell with the same or a higher
        score.
        """
        return take(self.earlier[0], self.layout.not_lower)

    def sum_over_cells(self, values: Float[Array, "t k b"], label: int) -> Float[Array, "c b"]:
        """Sums per-entry values of one label over the entries of each cell."""
        blocks = jnp.einsum("t,tkb->kb", np.ones(BLOCK, values.dtype), values, precision=EXACT)
        return combine_blocks(blocks, self.cells.cell[label], self.cells.n_cells)


def sum_in_pieces(
    blocks_of: Callable[[Callable[[Array, int], Array]], Array],
    cell: Int[Array, " k"],
    n_cells: int,
) -> Float[Array, " c *b"]:
    """Sums over the blocks of each cell, a piece of blocks at a time where there are many, to bound
    memory.

    Args:
      blocks_of: Given `take(array, axis)`, which cuts the piece out of an array along its axis of
        blocks, the sums of the piece's blocks.
      cell: (k,) cell of each block.
      n_cells: Cells.
    """
    n_pieces = cell.shape[0] // PIECE
    if n_pieces < 2:
        return combine_blocks(blocks_of(lambda array, axis: array), cell, n_cells)

    def of_piece(number: Array | int) -> Array:
        def take(array: Array, axis: int) -> Array:
            return lax.dynamic_slice_in_dim(array, number * PIECE, PIECE, axis)

        return combine_blocks(blocks_of(take), take(cell, 0), n_cells)

    return lax.fori_loop(1, n_pieces, lambda number, total: total + of_piece(number), of_piece(0))


def take(values: Float[Array, "n b"], index: Int[Array, "*e"]) -> Float[Array, "*e b"]:
    """Gathers rows; an index past the end reads 0.

    The barrier keeps XLA from fusing the gather into what reads it, where on a CPU it would be done
    element by element.
    """
    return lax.optimization_barrier(jnp.asarray(values).at[index].get(mode="fill", fill_value=0))


def combine_blocks(
    blocks: Float[Array, " k *b"], cell: Int[Array, " k"], n_cells: int
) -> Float[Array, " c *b"]:
    """Sums per-block values over the blocks of each cell, as a product, which is faster than a
    scatter.
    """
    is_of_cell = (cell == jnp.arange(n_cells)[:, None]).astype(blocks.dtype)
    return jnp.tensordot(is_of_cell, blocks, 1, precision=EXACT)


def _cumulate(weights: Float[Array, "t k b"], cell: Int[Array, " k"]) -> Float[Array, "e b"]:
    """Exclusive cumulative sum within cells: a triangular product within blocks, which takes in the
    earlier blocks.
    """
    totals = jnp.einsum("t,tkb->kb", np.ones(BLOCK, weights.dtype), weights, precision=EXACT)
    with_earlier = jnp.concatenate([weights, _earlier_blocks(totals, cell)[None]])
    lower = np.concatenate(
        [np.tril(np.ones((BLOCK, BLOCK)), -1), np.ones((BLOCK, 1))], axis=1
    ).astype(weights.dtype)
    cumulative = jnp.einsum("st,tkb->skb", lower, with_earlier, precision=EXACT)
    return cumulative.reshape(-1, weights.shape[-1])


def _earlier_blocks(totals: Float[Array, "k b"], cell: Int[Array, " k"]) -> Float[Array, "k b"]:
    """Sums the totals of all earlier blocks of the same cell; restarted, not subtracted, so that
    nothing cancels.
    """

    def combine(left, right):
        (left_starts, left_sum), (right_starts, right_sum) = left, right
        return left_starts | right_starts, right_sum + jnp.where(right_starts, 0, left_sum)

    starts = jnp.concatenate([jnp.ones(1, bool), cell[1:] != cell[:-1]])[:, None]
    previous = jnp.where(starts, 0, jnp.roll(totals, 1, axis=0))
    return lax.associative_scan(combine, (starts, previous))[1]
