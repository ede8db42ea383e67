"""Other ways than the bootstrap to weight samples: leave some out, or shuffle who is in which group.

A scheme is a pytree whose `weights(seed, numbers)` gives (n, B) weights: `columns` of them for each number drawn, in
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from fairjax.random import stream
from fairjax.statistics.bootstrap import signatures

MOST_BLOCKS = 1000


class Scheme(Protocol):
    """What gives the weights of replicates."""

    @property
    def columns(self) -> int:
        """Columns of weights for each number drawn."""

    def weights(self, seed: int | Array, numbers: Int[Array, " d"]) -> Float[Array, "n b"]:
        """(n, columns · D) weights of the draws with these numbers."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Jackknife:
    """Leaves out one block of clusters at a time: single clusters, or at random many to a block if there are many.

    Attributes:
      block: (n,) block of each sample.
      n_blocks: Their number.
    """

    block: Int[Array, " n"]
    n_blocks: int = field(metadata={"static": True})
    columns = 1

    @classmethod
    def build(cls, clusters: Int[np.ndarray, " n"]) -> Jackknife:
        """Deals clusters (codes from 0) to at most `MOST_BLOCKS` blocks of equal size."""
        n_clusters = int(clusters.max(initial=-1)) + 1
        n_blocks = min(n_clusters, MOST_BLOCKS)
        dealt = np.random.default_rng(0).permutation(n_clusters) % n_blocks if n_blocks else np.zeros(0, int)
        return cls(jnp.asarray(dealt[clusters], jnp.int32), n_blocks)

    def weights(self, seed: int | Array, numbers: Int[Array, " b"]) -> Float[Array, "n b"]:
        """1 for every sample but those of block b."""
        return (self.block[:, None] != numbers).astype(jnp.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Permutation:
    """Shuffles groups over patients within label: what the gap would be if groups meant nothing.

    The columns of a permutation are the members of each group; in permutation −1 they are the true ones. What is
    shuffled are units, the samples of a patient that are in one group; the units of a stratum have samples of the same
    labels.

    Attributes:
      unit: (n,) unit of each sample, units of one stratum in sequence; the number of units for a sample in no group.
      group: (units,) group of each unit.
      stratum: (units,) its stratum, ascending.
      columns: Groups.
    """

    unit: Int[Array, " n"]
    group: Int[Array, " u"]
    stratum: Int[Array, " u"]
    columns: int = field(metadata={"static": True})

    @classmethod
    def build(
        cls, codes: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"]
    ) -> Permutation:
        """Numbers units by stratum, on the host.

        Args:
          codes: (n,) group from 0, -1 for samples that take no part.
          labels: (n,) class.
          clusters: (n,) patient.
        """
        known = codes >= 0
        patients = np.unique(clusters[known], return_inverse=True)[1].astype(np.int64)
        n_groups = int(codes.max(initial=-1)) + 1
        names, unit = np.unique(patients * n_groups + codes[known], return_inverse=True)
        stratum = signatures(unit, len(names), labels[known])
        order = np.argsort(stratum, kind="stable")
        number = np.empty(len(names), np.int64)
        number[order] = np.arange(len(names))
        of_sample = np.full(codes.shape, len(names), np.int32)
        of_sample[known] = number[unit]
        group = jnp.asarray((names % max(n_groups, 1))[order], jnp.int32)
        return cls(jnp.asarray(of_sample), group, jnp.asarray(stratum[order], jnp.int32), n_groups)

    def weights(self, seed: int | Array, numbers: Int[Array, " d"]) -> Float[Array, "n b"]:
        """1 for the members of each group in each permutation."""
        key = jax.random.key(seed, impl="threefry2x32")

        def shuffled(number: Int[Array, ""]) -> Int[Array, " u"]:
            bits = jax.random.bits(stream(key, "permutation", number), self.group.shape, jnp.uint32)
            order = jax.lax.sort((self.stratum, bits, jnp.arange(len(bits))), num_keys=2)[2]
            return jnp.where(number < 0, self.group, jnp.zeros_like(self.group).at[order].set(self.group))

        group = jax.vmap(shuffled, out_axes=1)(numbers)
        of_sample = group.at[self.unit].get(mode="fill", fill_value=-1)
        return (of_sample[..., None] == jnp.arange(self.columns)).astype(jnp.float32).reshape(len(self.unit), -1)
