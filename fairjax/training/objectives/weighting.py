"""Methods that weigh samples: balanced, resampled, by the worst group, by the hardest samples, by
an adversary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fairjax.training.objectives.base import (
    TINY,
    Parameters,
    Sizes,
    State,
    Step,
    group_means,
    reverse,
    weighted_mean,
)
from fairjax.training.objectives.distributions import group_distances
from fairjax.training.objectives.losses import log_loss

BISECTIONS = 24  # halvings of the range of the losses: as fine as float32


def mean_loss(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Empirical risk: the weighted mean of the losses."""
    return weighted_mean(step.losses, step.weights), state


def inverse_frequency(
    key: Key[Array, ""], cells: Float[Array, "n c"], strength: Float[Array, " r"]
) -> Float[Array, "r n"]:
    """Weights ∝ (samples of a sample's cell)^−strength, of mean 1: at strength 1 each cell has the
    same total weight.

    Args:
      key: not used.
      cells: (n, c) 1 where a sample is of a cell; one of none weighs 1 before the mean is taken.
      strength: (r,) 0 leaves the weights equal.
    """
    del key
    # 1: of average size.
    per_cell = jnp.maximum(cells.sum(0), 1) / jnp.maximum(cells.sum() / cells.shape[1], 1)
    per_sample = jnp.where(cells.sum(1) > 0, cells @ per_cell, 1.0)
    weights = per_sample ** -strength[:, None]
    return weights / weights.mean(1, keepdims=True)


def resampled(
    key: Key[Array, ""], cells: Float[Array, "n c"], strength: Float[Array, " r"]
) -> Float[Array, "r n"]:
    """How often each sample is drawn in an epoch, with probability ∝ (samples of its
    cell)^−strength.

    Multiplicities are Poisson, as those of many draws with replacement are; runs share the random
    number of a sample, so that batches stay shared too.
    """
    mean = inverse_frequency(key, cells, strength)
    uniform = jax.random.uniform(key, (len(cells),))
    term = jnp.exp(-mean)
    below = term
    count = jnp.zeros_like(mean)
    for k in range(1, 33):  # inverts the distribution function; means are far below its end
        count += uniform > below
        term = term * mean / k
        below += term
    return count


def group_dro(
    step: Step, eta: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Σ_g q_g ℓ_g after q_g ← q_g exp(η ℓ_g), normalised; groups that are absent keep their weight.

    Source: Sagawa et al. 2020, Distributionally robust neural networks, algorithm 1.
    """
    losses, present = group_means(step.losses, step.weights, step.membership)
    raised = jax.lax.stop_gradient(jnp.where(present > 0, eta[:, None] * losses, 0.0))
    q = jax.nn.softmax(state["log_q"] + raised, axis=-1)
    return jnp.sum(q * losses, -1), {"log_q": jnp.log(jnp.maximum(q, TINY))}


def uniform_log_q(sizes: Sizes) -> State:
    """Equal weights of the groups."""
    return {"log_q": jnp.full(sizes.groups, -jnp.log(float(sizes.groups)))}


def cvar(step: Step, alpha: Float[Array, " r"], state: State) -> tuple[Float[Array, " r"], State]:
    """The mean of the worst share α of the losses: min_η η + E[(ℓ − η)₊] / α, with the η that is
    exact for the batch.

    Source: Levy et al. 2020, Large-scale methods for distributionally robust optimization.
    """
    losses, weights = step.losses, jnp.broadcast_to(step.weights, step.losses.shape)
    total = jnp.maximum(weights.sum(-1), TINY)
    fixed = jax.lax.stop_gradient(losses)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        too_low = jnp.sum(weights * (fixed > middle[:, None]), -1) > alpha * total
        return jnp.where(too_low, middle, low), jnp.where(too_low, high, middle)

    ends = jnp.zeros(len(losses)), fixed.max(-1)
    eta = jax.lax.fori_loop(0, BISECTIONS, halve, ends)[1]
    excess = jnp.sum(weights * jax.nn.relu(losses - eta[:, None]), -1) / total
    return eta + excess / alpha, state


def adversarial_weights(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Weights 1 + strength · f(x, y) / mean f, where a linear f raises the loss that the head
    lowers.

    Source: Lahoti et al. 2020, Fairness without demographics through adversarially reweighted
    learning.
    """
    adversary = reverse(step.parameters)
    kernel, of_label = adversary["kernel"], adversary["label"]
    raised = jnp.einsum("bd,rd->rb" if step.x.ndim == 2 else "rbd,rd->rb", step.x, kernel)
    f = jax.nn.sigmoid(raised + of_label[:, :1] * step.y + of_label[:, 1:])
    scale = f / jnp.maximum(weighted_mean(f, step.weights), TINY)[:, None]
    return weighted_mean((1 + strength[:, None] * scale) * step.losses, step.weights) / (
        1 + strength
    ), state


def linear_adversary(key: Key[Array, ""], sizes: Sizes) -> Parameters:
    """A kernel over x that begins at 0, and a weight of the label and a bias."""
    del key
    return {"kernel": jnp.zeros(sizes.width), "label": jnp.zeros(2)}


def fair_identity_scaling(
    step: Step, share: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Losses scaled by (1 − c) softmax(ℓ_i) · b + c softmax(W(ℓ of i's group, ℓ of all)) · g, each
    of mean about 1.

    W is Wasserstein's distance between the distributions of 1 − exp(−ℓ), which lie in [0, 1]. A
    sample of unknown group has the group scale 1.

    Source: Luo et al. 2023, FairVision: equitable deep learning for eye disease screening via fair
    identity scaling.
    """
    fixed = jax.lax.stop_gradient(step.losses)
    weights = jnp.broadcast_to(step.weights, fixed.shape)
    individual = weights * jnp.exp(fixed - fixed.max(-1, keepdims=True))
    individual = (
        individual
        / jnp.maximum(individual.sum(-1, keepdims=True), TINY)
        * (weights > 0).sum(-1)[:, None]
    )
    distances = group_distances(1 - jnp.exp(-fixed), weights, step.membership)
    grouped = jax.nn.softmax(distances, -1) * distances.shape[-1]
    known = step.membership.sum(-1) > 0
    of_sample = jnp.einsum(
        "rg,bg->rb" if step.membership.ndim == 2 else "rg,rbg->rb", grouped, step.membership
    )
    scale = (1 - share[:, None]) * individual / jnp.maximum(weights, TINY) * (weights > 0)
    scale = scale + share[:, None] * jnp.where(known, of_sample, 1.0)
    return weighted_mean(scale * step.losses, weights), state


def domain_independent(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Each sample trains the output of its own group; of unknown groups, the mean of all.

    Source: Wang et al. 2020, Towards fairness in visual recognition: effective strategies for bias
    mitigation.
    """
    own = jnp.einsum(
        "rgb,bg->rb" if step.membership.ndim == 2 else "rgb,rbg->rb", step.outputs, step.membership
    )
    logits = jnp.where(step.membership.sum(-1) > 0, own, step.logits)
    return weighted_mean(log_loss(logits, step.y), step.weights), state
