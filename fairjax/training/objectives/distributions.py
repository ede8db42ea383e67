"""Distributions of numbers in [0, 1] on a grid, by group, and distances between them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fairjax.training.objectives.base import TINY

GRID = 32  # points of [0, 1]
EPSILON = 0.02  # of the entropy: exp(−1 / ε) is far above float32's smallest number
ITERATIONS = 20


def histograms(
    values: Float[Array, "r b"], weights: Float[Array, "r b"], membership: Float[Array, "*#r b g"]
) -> tuple[Float[Array, "r k"], Float[Array, "r g k"], Float[Array, "r g"]]:
    """Shares of all samples and of each group on the grid; a value is split between its two
    neighbours, linearly.

    Args:
      values: (r, b) in [0, 1].
      weights: (r, b) ≥ 0.
      membership: 1 where a sample is of one of g groups.

    Returns:
      (r, k) and (r, g, k), each row summing to 1 (an absent group's to 0), and the weights (r, g)
      of the groups.
    """
    points = jnp.linspace(0, 1, GRID)[:, None]
    hats = weights[:, None] * jax.nn.relu(
        1 - jnp.abs(values[:, None] - points) * (GRID - 1)
    )  # (r, k, b)
    all_ = hats.sum(-1)
    grouped = jnp.swapaxes(jnp.matmul(hats, membership), 1, 2)
    totals = grouped.sum(-1)
    all_ = all_ / jnp.maximum(all_.sum(-1, keepdims=True), TINY)
    return all_, grouped / jnp.maximum(totals, TINY)[..., None], totals


def group_distances(
    values: Float[Array, "r b"], weights: Float[Array, "r b"], membership: Float[Array, "*#r b g"]
) -> Float[Array, "r g"]:
    """Wasserstein-1 distance of each group's distribution from that of all: the area between
    distribution functions.
    """
    all_, grouped, totals = histograms(values, weights, membership)
    area = jnp.abs(jnp.cumsum(grouped - all_[:, None], -1)).sum(-1) / (GRID - 1)
    return jnp.where(totals > 0, area, 0.0)


def sinkhorn(
    a: Float[Array, "*n k"],
    b: Float[Array, "*n m"],
    cost: Float[Array, "k m"],
    epsilon: float = EPSILON,
    iterations: int = ITERATIONS,
) -> Float[Array, "*n"]:
    """Entropic optimal transport: ⟨P, C⟩ − ε H(P) … of the best plan, as its dual ⟨f, a⟩ + ⟨g, b⟩ −
    ε (Σ P − 1).

    The gradient is by the envelope theorem: of a it is the potential f, of b it is g, with no
    derivative of iterations.

    Args:
      a: distributions; rows sum to 1.
      b: distributions, likewise.
      cost: C.
      epsilon: weight of the entropy Σ P (log P − 1) + 1.
      iterations: updates of either scaling.

    Returns:
      The value for each pair of rows.

    Source: Cuturi 2013, Sinkhorn distances; Luo et al. 2024, FairCLIP, eq. 3.
    """
    kernel = jnp.exp(-cost / epsilon)
    fixed_a, fixed_b = jax.lax.stop_gradient(a), jax.lax.stop_gradient(b)

    def update(_, scalings):
        u, v = scalings
        u = fixed_a / jnp.maximum(v @ kernel.T, 1e-30)
        return u, fixed_b / jnp.maximum(u @ kernel, 1e-30)

    u, v = jax.lax.fori_loop(0, iterations, update, (jnp.ones_like(a), jnp.ones_like(b)))
    u, v = jax.lax.stop_gradient((u, v))
    f, g = (epsilon * jnp.log(jnp.maximum(scaling, 1e-30)) for scaling in (u, v))
    mass = jnp.sum(u * (v @ kernel.T), -1)
    return jnp.sum(f * a, -1) + jnp.sum(g * b, -1) - epsilon * (mass - 1)


def grid_cost() -> Float[Array, "k k"]:
    """Squared distances between points of the grid."""
    points = jnp.linspace(0, 1, GRID)
    return (points[:, None] - points) ** 2
