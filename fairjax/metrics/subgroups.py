"""Subgroups: the sets of patients' samples for which a metric is computed, laid out once.

A *subgroup* is any subset of the samples (all, a group, an intersection); subgroups may overlap.
They and the labels are the same for every run and every bootstrap replicate, so what depends on
them alone is laid out here, on the host; `fairjax.metrics` has a picture of it.

The layout is ragged: for either label, the members of subgroup 0, then those of subgroup 1, and so
on, so that the work is the sum of the subgroups' sizes and not subgroups × samples. It is cut into
blocks of `BLOCK` entries, of which each belongs to one subgroup; the last block of a subgroup is
filled up with padding, at least one entry of it, which a gather reads as weight 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

BLOCK = (
    32  # entries; subgroups shorter than this waste padding, longer blocks waste multiplications
)
# Blocks that are summed at once; more of them are padded to whole pieces and summed by pieces.
PIECE = 1024
# Fewer are padded by up to a 16th of them, so that similar data have one shape, compiled once.
_PADDED_PART = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subgroups:
    """Which samples are in which subgroup, by label; a pytree whose arrays do not depend on scores.

    Attributes:
      rows: for label 0 and label 1, (blocks, BLOCK) sample index of each entry; `n_samples` marks
        padding.
      subgroup: for label 0 and label 1, (blocks,) subgroup of each block, ascending.
      n_samples: samples, padding samples included.
      n_subgroups: subgroups.
    """

    rows: tuple[Int[Array, "k0 t"], Int[Array, "k1 t"]]
    subgroup: tuple[Int[Array, " k0"], Int[Array, " k1"]]
    n_samples: int = field(metadata={"static": True})
    n_subgroups: int = field(metadata={"static": True})

    @classmethod
    def build(
        cls, labels: Shaped[np.ndarray, " n"], membership: Shaped[np.ndarray, "c n"]
    ) -> Subgroups:
        """Lays out subgroups on the host.

        Args:
          labels: (n,) in {0, 1}.
          membership: (C, n) booleans, or 0 and 1; a sample that is in no subgroup costs nothing.

        Returns:
          The subgroups.

        Raises:
          ValueError: a shape or a label is wrong, or subgroups × samples overflows a 32-bit key.
        """
        labels, membership = np.asarray(labels), np.asarray(membership, bool)
        n_subgroups, n = membership.shape
        if labels.shape != (n,):
            raise ValueError(
                f"labels have shape {labels.shape}, membership {membership.shape}: samples differ"
            )
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("labels must be 0 or 1")
        if n_subgroups * (n + 1) >= 2**31:
            raise ValueError(
                f"{n_subgroups} subgroups of {n} samples are too many for one layout; "
                "evaluate fewer at a time"
            )
        (rows_0, subgroup_0), (rows_1, subgroup_1) = (
            _ragged_blocks(membership, labels == label) for label in (0, 1)
        )
        return cls((rows_0, rows_1), (subgroup_0, subgroup_1), n, n_subgroups)

    @property
    def n_entries(self) -> int:
        """Entries of the ragged layout, padding included: what a replicate costs."""
        return sum(rows.size for rows in self.rows)


def _granularity(blocks: int) -> int:
    return PIECE if blocks > PIECE else 1 << max(0, (blocks // _PADDED_PART).bit_length() - 1)


def _ragged_blocks(membership: np.ndarray, of_label: np.ndarray) -> tuple[Array, Array]:
    """Members with one label of each subgroup, in blocks: `(rows_kt, subgroup_k)`."""
    blocks = (membership & of_label).sum(1) // BLOCK + 1
    blocks[-1] += -blocks.sum() % _granularity(int(blocks.sum()))
    rows = np.full((blocks.sum(), BLOCK), of_label.size, np.int32)
    for first, member in zip(np.cumsum(blocks) - blocks, membership, strict=True):
        members = np.flatnonzero(member & of_label)
        rows[first:].reshape(-1)[: members.size] = members
    return jnp.asarray(rows), jnp.asarray(np.repeat(np.arange(len(blocks), dtype=np.int32), blocks))
