"""The bootstrap as weights: a replicate is how often each patient was drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, Int, Shaped, UInt32

from fairjax.utils.random import stream


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Resampling:
    """Who is drawn from whom; a pytree, the same for all replicates.

    Attributes:
      patient: (n,) patient of each sample, patients of one stratum in sequence.
      first: (patients,) for each draw, the first patient of the stratum it draws from.
      size: (patients,) for each draw, the number of patients in that stratum.
      identity: whether every sample is its own patient, in order.
    """

    patient: Int[Array, " n"]
    first: UInt32[Array, " k"]
    size: UInt32[Array, " k"]
    identity: bool = field(metadata={"static": True})

    @classmethod
    def build(
        cls,
        n: int,
        patients: Shaped[np.ndarray, " n"] | None = None,
        strata: Int[np.ndarray, " n"] | None = None,
    ) -> Resampling:
        """Numbers patients by stratum, on the host.

        Args:
          n: samples.
          patients: (n,) identity of each sample's patient, of any sortable type;
            None: each sample is one.
          strata: (n,) codes; as many patients are drawn from a stratum as it has. A patient whose
            samples have several codes belongs to the stratum of patients with the same set of
            codes.
        """
        code = (
            np.arange(n)
            if patients is None
            else np.unique(patients, return_inverse=True)[1].reshape(-1)
        )
        n_patients = int(code.max(initial=-1)) + 1
        stratum = (
            np.zeros(n_patients, np.int64)
            if strata is None
            else signatures(code, n_patients, strata)
        )
        sizes = np.bincount(stratum)
        new_code = np.empty(n_patients, np.int32)
        new_code[np.argsort(stratum, kind="stable")] = np.arange(n_patients)
        patient = new_code[code]
        return cls(
            patient=jnp.asarray(patient),
            first=jnp.asarray(np.repeat(np.cumsum(sizes) - sizes, sizes), jnp.uint32),
            size=jnp.asarray(np.repeat(sizes, sizes), jnp.uint32),
            identity=bool(np.array_equal(patient, np.arange(n))),
        )

    def weights(self, seed: int | Array, numbers: Int[Array, " b"]) -> Float[Array, "n b"]:
        """(n, B) multiplicities in the replicates with these numbers."""
        return replicate_weights(self, seed, numbers)


def replicate_weights(
    resampling: Resampling, seed: int | Array, replicates: Int[Array, " b"]
) -> Float[Array, "n b"]:
    """Draws patients with replacement, as many as there are, and counts how often each sample is
    in.

    Replicate b depends on the seed and on b alone, never on which others are drawn with it.

    Args:
      resampling: who is drawn, of `Resampling.build`.
      seed: seed of the draws.
      replicates: (B,) numbers of the replicates.

    Returns:
      (n, B) multiplicities.

    Source: Efron 1979; for patients Field & Welsh 2007 (the randomised cluster bootstrap).
    """
    n_draws, n_replicates = resampling.size.shape[0], replicates.shape[0]
    key = jax.random.key(seed, impl="threefry2x32")
    keys = jax.vmap(lambda b: jax.random.key_data(stream(key, "bootstrap", b)))(replicates)
    # Threefry gives two words per block; `jax.random.bits` keeps one of them, and bits are most of
    # the cost of a draw.
    counters = jnp.arange(n_draws + n_draws % 2, dtype=jnp.uint32)
    words = jax.vmap(threefry_2x32, (0, None), out_axes=1)(keys, counters)[:n_draws]
    drawn = resampling.first[:, None] + _high_word(words, resampling.size[:, None])
    flat = drawn.astype(jnp.int32) * n_replicates + jnp.arange(n_replicates)
    counts = (
        jnp.zeros(n_draws * n_replicates).at[flat.reshape(-1)].add(1.0, mode="promise_in_bounds")
    )
    counts = counts.reshape(n_draws, n_replicates)
    return (
        counts
        if resampling.identity
        else counts.at[resampling.patient].get(mode="promise_in_bounds")
    )


def _high_word(a: UInt32[Array, " ..."], b: UInt32[Array, " ..."]) -> UInt32[Array, " ..."]:
    """⌊a·b / 2³²⌋ in 32-bit arithmetic: a uniform word `a` becomes a uniform index below `b`."""
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    cross_1, cross_2 = a_high * b_low, a_low * b_high
    carry = (cross_1 & 0xFFFF) + (cross_2 & 0xFFFF) + ((a_low * b_low) >> 16)
    return a_high * b_high + (cross_1 >> 16) + (cross_2 >> 16) + (carry >> 16)


def signatures(code: np.ndarray, n_patients: int, strata: np.ndarray) -> np.ndarray:
    """Stratum of each patient, from 0: patients whose samples have the same set of codes share one.

    Args:
      code: (n,) patient of each sample, from 0.
      n_patients: number of patients.
      strata: (n,) code of each sample.
    """
    stratum_code = np.unique(strata, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([code, stratum_code], 1), axis=0)
    token = np.random.default_rng(0).integers(
        1, 2**63, stratum_code.max(initial=-1) + 1, dtype=np.int64
    )
    signature = np.zeros(n_patients, np.int64)
    np.bitwise_xor.at(signature, pairs[:, 0], token[pairs[:, 1]])
    return np.unique(signature, return_inverse=True)[1].reshape(-1)
