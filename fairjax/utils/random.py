"""Randomness by name and index, never by position: a stream's draws do not depend on who else
draws.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

STREAMS = (
    *("init", "order", "dropout", "bootstrap", "prompts", "split"),
    *("permutation", "resample", "decision"),
)


def stream(key: Key[Array, ""], name: str, *indices: int | Int[Array, ""]) -> Key[Array, ""]:
    """The key of a named stream, and of an index in it: `fold_in(fold_in(key, stream), seed)`.

    Args:
      key: key of the whole experiment.
      name: one of `STREAMS`.
      *indices: seed, replicate, epoch, …

    Returns:
      A key that depends on `key`, `name` and `indices` alone.
    """
    key = jax.random.fold_in(key, STREAMS.index(name))
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key


def permutation(key: Key[Array, ""], n: int) -> Int[Array, " n"]:
    """A random order of 0 … n − 1, by one sort of 32 random bits each, where
    `jax.random.permutation` sorts twice.

    Equal bits keep their order: for n = 100,000 that is about one pair in the whole permutation.
    """
    return jnp.argsort(jax.random.bits(key, (n,), jnp.uint32)).astype(jnp.int32)
