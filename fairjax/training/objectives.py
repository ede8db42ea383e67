"""Training losses: pure functions of (logits, labels, weights) for all runs at once."""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def binary_cross_entropy(
    logits_rb: Float[Array, "r b"], labels: Float[Array, "*#r b"], weights: Float[Array, "*#r b"]
) -> Float[Array, " r"]:
    """Weighted mean cross-entropy per run.

    Args:
      logits_rb: (r, b) logits of the positive class.
      labels: (b,) shared or (r, b) per run, in {0, 1}.
      weights: (b,) or (r, b), ≥ 0; a weight of 0 leaves the sample out.

    Returns:
      (r,) Σ w ℓ / Σ w.
    """
    losses = optax.sigmoid_binary_cross_entropy(logits_rb, labels)
    return jnp.sum(weights * losses, -1) / jnp.maximum(jnp.sum(weights, -1), 1e-12)
