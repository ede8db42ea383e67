"""Cells: the sets of people for which a metric is computed, laid out so that each costs only its
own size.

A *cell* is any subset of the samples (everybody, a group, an intersection); cells may overlap.
Cells and labels are the same for every run and every bootstrap replicate, so what depends on them
alone is laid out once, here, on the host.

The layout is ragged: for either label, the members of cell 0, then those of cell 1, and so on, so
that the work is the sum of the cells' sizes and not cells × samples. It is cut into blocks of
`BLOCK` entries, of which each belongs to one cell; the last block of a cell is filled up with
padding, at least one entry of it, which a gather reads as weight 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

BLOCK = 32  # entries; cells shorter than this waste padding, longer blocks waste multiplications
# blocks that are summed at once; more of them are padded to whole pieces and summed piece by piece
PIECE = 1024
# fewer are padded by up to this part of them, so that similar data have one shape, compiled once
_SHARE_PADDED = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cells:
    """Which samples are in which cell, by label; a pytree whose arrays do not depend on scores.

    Attributes:
      rows: For label 0 and label 1, (blocks, BLOCK) sample index of each entry; `n_samples` marks
        padding.
      cell: For label 0 and label 1, (blocks,) cell of each block, ascending.
      n_samples: Samples, padding samples included.
      n_cells: Cells.
    """

    rows: tuple[Int[Array, "k0 t"], Int[Array, "k1 t"]]
    cell: tuple[Int[Array, " k0"], Int[Array, " k1"]]
    n_samples: int = field(metadata={"static": True})
    n_cells: int = field(metadata={"static": True})

    @classmethod
    def build(cls, labels: Int[np.ndarray, " n"], membership: Int[np.ndarray, "c n"]) -> Cells:
        """Lays out cells on the host.

        Args:
          labels: (n,) in {0, 1}.
          membership: (C, n) in {0, 1}; a sample that is in no cell costs nothing.

        Returns:
          The cells.

        Raises:
          ValueError: A shape or a label is wrong, or cells × samples overflows a 32-bit sort key.
        """
        labels, membership = np.asarray(labels), np.asarray(membership, bool)
        n_cells, n = membership.shape
        if labels.shape != (n,):
            raise ValueError(
                f"labels have shape {labels.shape}, membership {membership.shape}: samples differ"
            )
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("labels must be 0 or 1")
        if n_cells * (n + 1) >= 2**31:
            raise ValueError(
                f"{n_cells} cells of {n} samples are too many for one layout; evaluate fewer at a time"
            )
        (rows_0, cell_0), (rows_1, cell_1) = (
            _ragged_blocks(membership, labels == label) for label in (0, 1)
        )
        return cls(rows=(rows_0, rows_1), cell=(cell_0, cell_1), n_samples=n, n_cells=n_cells)

    @property
    def n_entries(self) -> int:
        """Entries of the ragged layout, padding included: what a replicate costs."""
        return sum(rows.size for rows in self.rows)


def _granularity(blocks: int) -> int:
    return PIECE if blocks > PIECE else 1 << max(0, (blocks // _SHARE_PADDED).bit_length() - 1)


def _ragged_blocks(membership: np.ndarray, of_label: np.ndarray) -> tuple[Array, Array]:
    """Members with one label of each cell, in blocks of one cell each: `(rows_kt, cell_k)`."""
    blocks = (membership & of_label).sum(1) // BLOCK + 1
    blocks[-1] += -blocks.sum() % _granularity(int(blocks.sum()))
    rows = np.full((blocks.sum(), BLOCK), of_label.size, np.int32)
    for first, member in zip(np.cumsum(blocks) - blocks, membership, strict=True):
        members = np.flatnonzero(member & of_label)
        rows[first:].reshape(-1)[: members.size] = members
    return jnp.asarray(rows), jnp.asarray(np.repeat(np.arange(len(blocks), dtype=np.int32), blocks))
