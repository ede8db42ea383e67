"""Other ways than the bootstrap to weight samples: leave some out, or shuffle who is in which
group.

A scheme is a pytree whose `weights(seed, numbers)` gives (n, B) weights, one column for each
number; numbers are consecutive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from fairjax.statistics.bootstrap import signatures
from fairjax.utils.random import stream

MAX_BLOCKS = 1000


class Scheme(Protocol):
    """What gives the weights of replicates."""

    def weights(self, seed: int | Array, numbers: Int[Array, " b"]) -> Float[Array, "n b"]:
        """(n, B) weights of the replicates with these numbers."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Jackknife:
    """Leaves out one block of patients at a time: single patients, or at random many to a block if
    there are many.

    Attributes:
      block: (n,) block of each sample.
      n_blocks: number of blocks.
    """

    block: Int[Array, " n"]
    n_blocks: int = field(metadata={"static": True})

    @classmethod
    def build(cls, patients: Int[np.ndarray, " n"]) -> Jackknife:
        """Deals patients (codes from 0) to at most `MAX_BLOCKS` blocks of equal size."""
        n_patients = int(patients.max(initial=-1)) + 1
        n_blocks = min(n_patients, MAX_BLOCKS)
        dealt = (
            np.random.default_rng(0).permutation(n_patients) % n_blocks
            if n_blocks
            else np.zeros(0, int)
        )
        return cls(jnp.asarray(dealt[patients], jnp.int32), n_blocks)

    def weights(self, seed: int | Array, numbers: Int[Array, " b"]) -> Float[Array, "n b"]:
        """1 for every sample but those of block b."""
        return (self.block[:, None] != numbers).astype(jnp.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Permutation:
    """Shuffles groups over patients within label: what the gap would be if groups meant nothing.

    The columns of a permutation are the members of each group; in the first they are the true ones.
    What is shuffled are units, the samples of a patient that are in one group; the units of a
    stratum have samples of the same labels.

    Attributes:
      unit: (n,) unit of each sample, units of one stratum in sequence; n for a sample in no group.
      group: (n,) group of each unit, -1 past the last one: padded, so that all attributes have one
        shape.
      stratum: (n,) its stratum, ascending.
      n_groups: columns of each permutation.
    """

    unit: Int[Array, " n"]
    group: Int[Array, " n"]
    stratum: Int[Array, " n"]
    n_groups: Int[Array, ""]

    @classmethod
    def build(
        cls,
        codes: Int[np.ndarray, " n"],
        labels: Int[np.ndarray, " n"],
        patients: Shaped[np.ndarray, " n"],
    ) -> Permutation:
        """Numbers units by stratum, on the host.

        Args:
          codes: (n,) group from 0, -1 for samples that take no part; at least two groups.
          labels: (n,) class.
          patients: (n,) patient.
        """
        known, n, n_groups = codes >= 0, len(codes), int(codes.max()) + 1
        of_known = np.unique(patients[known], return_inverse=True)[1].astype(np.int64)
        names, unit = np.unique(of_known * n_groups + codes[known], return_inverse=True)
        stratum = signatures(unit, len(names), labels[known])
        order = np.argsort(stratum, kind="stable")
        number = np.empty(len(names), np.int64)
        number[order] = np.arange(len(names))
        padding = (0, n - len(names))
        of_sample = np.full(n, n)
        of_sample[known] = number[unit]
        group = np.pad((names % n_groups)[order], padding, constant_values=-1)
        stratum = np.pad(stratum[order], padding, constant_values=n)
        return cls(*(jnp.asarray(x, jnp.int32) for x in (of_sample, group, stratum, n_groups)))

    def weights(self, seed: int | Array, numbers: Int[Array, " b"]) -> Float[Array, "n b"]:
        """1 for the members of group b mod G in permutation ⌊b / G⌋, of consecutive b."""
        key = jax.random.key(seed, impl="threefry2x32")

        def shuffled(permutation: Int[Array, ""]) -> Int[Array, " n"]:
            bits = jax.random.bits(
                stream(key, "permutation", permutation), self.group.shape, jnp.uint32
            )
            order = jax.lax.sort((self.stratum, bits, jnp.arange(len(bits))), num_keys=2)[2]
            return jnp.where(
                permutation == 0, self.group, jnp.zeros_like(self.group).at[order].set(self.group)
            )

        permutation = numbers // self.n_groups
        at_most = len(numbers) // 2 + 1  # permutations, of two groups or more
        group = jax.vmap(shuffled, out_axes=1)(permutation[0] + jnp.arange(at_most))
        of_sample = group.at[self.unit].get(mode="fill", fill_value=-1)
        return (of_sample[:, permutation - permutation[0]] == numbers % self.n_groups).astype(
            jnp.float32
        )
