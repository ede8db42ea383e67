"""What every logistic regression with two parameters needs: Newton's 2 × 2 system."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array


def newton_direction(
    gradient: tuple[Array, Array], hessian: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """Solves [[a, b], [b, c]] x = (u, v), and leaves the division to the caller.

    How a singular system is met, how far a step goes and when it is the last are what the callers
    differ in: replicates of a metric clip it, rules that are kept never raise the loss.

    Args:
      gradient: u and v.
      hessian: a, b and c, of the same shapes.

    Returns:
      The numerators (2, …) of x, and the determinant.
    """
    (u, v), (a, b, c) = gradient, hessian
    return jnp.stack([c * u - b * v, a * v - b * u]), a * c - b * b
