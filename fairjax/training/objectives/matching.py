"""Methods that draw the groups' distributions together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fairjax.training.objectives.base import TINY, State, Step, weighted_mean
from fairjax.training.objectives.distributions import grid_cost, histograms, sinkhorn


def mmd(step: Step, strength: Float[Array, " r"], state: State) -> tuple[Float[Array, " r"], State]:
    """Adds strength · Σ_g MMD²(features of group g, features of all).

    Source: Gretton et al. 2012, A kernel two-sample test, eq. 5 (biased); Li et al. 2018, Domain
    generalization with adversarial feature learning.
    """
    apart = squared_mmd(step.features, step.weights, step.membership)
    return weighted_mean(step.losses, step.weights) + strength * apart, state


def squared_mmd(
    features: Float[Array, "r h b"],
    weights: Float[Array, "*#r b"],
    membership: Float[Array, "*#r b g"],
) -> Float[Array, " r"]:
    """Squared maximum mean discrepancy of each group that is present from all samples, summed over
    groups and kernels.

    With a_g the weights of a group less those of all, each of sum 1, it is Σ_g a_gᵀ K a_g = Σ_ij
    K_ij Σ_g a_gi a_gj: one pass over the pairs.
    """
    grouped = weights[..., None] * membership
    totals = grouped.sum(-2, keepdims=True)
    all_ = weights / jnp.maximum(weights.sum(-1, keepdims=True), TINY)
    a = jnp.where(totals > 0, grouped / jnp.maximum(totals, TINY) - all_[..., None], 0.0)
    pairs = jnp.einsum("...bg,...cg->...bc", a, a)
    if features.shape[1] == 1:
        return _paired(features[:, 0], pairs)
    squares = jnp.sum(features**2, 1)
    products = jnp.einsum("rhb,rhc->rbc", features, features)
    base, fourth, last = _kernels(
        jax.nn.relu(squares[:, :, None] + squares[:, None, :] - 2 * products)
    )
    return jnp.sum(pairs * (base + fourth + last), (-2, -1))


def _kernels(squared_distances: Array) -> tuple[Array, Array, Array]:
    """Gaussian kernels of standard deviation 2, 1 and 1/2, for the price of one exponential."""
    base = jnp.exp(-squared_distances / 8)
    fourth = (base * base) ** 2
    return base, fourth, (fourth * fourth) ** 2


@jax.custom_vjp
def _paired(z: Float[Array, "r b"], pairs: Float[Array, "*#r b b"]) -> Float[Array, " r"]:
    """Σ_ij pairs_ij k(z_i, z_j) of single numbers, with the derivative in the same pass: half the
    time.
    """
    return _paired_forward(z, pairs)[0]


def _paired_forward(z: Array, pairs: Array) -> tuple[Array, Array]:
    apart = z[:, :, None] - z[:, None, :]
    base, fourth, last = _kernels(apart * apart)
    value = jnp.sum(pairs * (base + fourth + last), (-2, -1))
    return value, jnp.sum(pairs * (-apart / 2) * (base + 4 * fourth + 16 * last), -1)


_paired.defvjp(_paired_forward, lambda slope, cotangent: (cotangent[:, None] * slope, None))


def coral(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Adds strength · Σ_g (|mean_g − mean|² + |covariance_g − covariance|²) / h of the features.

    Source: Sun & Saenko 2016, Deep CORAL; the means as in Gulrajani & Lopez-Paz 2021, In search of
    lost domain generalization.
    """
    z, weights = step.features, jnp.broadcast_to(step.weights, step.losses.shape)
    h = z.shape[1]
    shares = weights / jnp.maximum(weights.sum(-1, keepdims=True), TINY)
    mean, covariance = _moments(z, shares)
    penalty = jnp.zeros(len(z))
    for g in range(
        step.membership.shape[-1]
    ):  # a (r, g, h, b) array would be the largest of the step
        of_group = weights * step.membership[..., g]
        total = of_group.sum(-1, keepdims=True)
        mean_g, covariance_g = _moments(z, of_group / jnp.maximum(total, TINY))
        apart = ((mean_g - mean) ** 2).sum(1) + ((covariance_g - covariance) ** 2).sum((1, 2)) / h
        penalty += jnp.where(total[:, 0] > 0, apart / h, 0.0)
    return weighted_mean(step.losses, step.weights) + strength * penalty, state


def _moments(z: Float[Array, "r h b"], shares: Float[Array, "r b"]) -> tuple[Array, Array]:
    mean = jnp.einsum("rhb,rb->rh", z, shares)
    centred = z - mean[..., None]
    return mean, jnp.einsum("rhb,rib->rhi", centred * shares[:, None], centred)


def fair_sinkhorn(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Adds strength · Σ_g S(scores of group g, scores of all), S Sinkhorn's distance less its own
    bias.

    Scores lie on a grid of [0, 1] with squared distances. S(a, b) = OT(a, b) − OT(a, a) / 2 − OT(b,
    b) / 2.

    Source: Luo et al. 2024, FairCLIP: harnessing fairness in vision-language learning, eq. 4; Feydy
    et al. 2019, Interpolating between optimal transport and MMD.
    """
    weights = jnp.broadcast_to(step.weights, step.losses.shape)
    all_, grouped, totals = histograms(jax.nn.sigmoid(step.logits), weights, step.membership)
    present = totals > 0
    first = jnp.where(present[..., None], grouped, all_[:, None])
    cost, second = grid_cost(), jnp.broadcast_to(all_[:, None], first.shape)
    own = sinkhorn(first, first, cost) + sinkhorn(all_, all_, cost)[:, None]
    apart = sinkhorn(first, second, cost) - own / 2
    return weighted_mean(step.losses, step.weights) + strength * jnp.where(present, apart, 0.0).sum(
        -1
    ), state
