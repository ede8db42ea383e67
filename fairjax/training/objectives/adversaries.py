"""Methods with an adversary that guesses the group from the features, which are trained to give
nothing away.

One descent trains both: the gradient that reaches the features through the adversary is reversed.
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
    group_sums,
    reverse,
    weighted_mean,
)

HIDDEN = 8


def laftr(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Adds the adversary's loss, each group weighing the same; it sees the features and the label
    (equalized odds).

    The paper's group-normalised L1 loss is a cross-entropy here. On a linear head's logit this is
    the adversarial debiasing of Zhang et al. 2018.

    Source: Madras et al. 2018, Learning adversarially fair and transferable representations, eq. 4.
    """
    z = reverse(step.features, strength)
    y = jnp.broadcast_to(step.y, step.losses.shape)[:, None]
    seen = jnp.concatenate([z, z * (2 * y - 1), 2 * y - 1], 1)  # (r, 2h + 1, b)
    guess = _guess(step.parameters, "", seen)
    return weighted_mean(step.losses, step.weights) + _balanced(
        guess, step.weights, step.membership
    ), state


def cfair(
    step: Step, strength: Float[Array, " r"], state: State
) -> tuple[Float[Array, " r"], State]:
    """Balanced error of the classes, and an adversary for each class with balanced error of the
    groups in it.

    Source: Zhao et al. 2020, Conditional learning of fair representations, eq. 2.
    """
    z = reverse(step.features, strength)
    y = jnp.broadcast_to(step.y, step.losses.shape)
    weights = jnp.broadcast_to(step.weights, step.losses.shape)
    value = jnp.zeros(len(z))
    for name, of_class in (("0", 1 - y), ("1", y)):
        inside = weights * of_class
        value += weighted_mean(step.losses, inside) / 2
        value += _balanced(_guess(step.parameters, name, z), inside, step.membership)
    return value, state


def one_adversary(key: Key[Array, ""], sizes: Sizes) -> Parameters:
    """Of features, features × label, and label."""
    return _network(key, "", 2 * sizes.features + 1, sizes.groups)


def adversary_per_class(key: Key[Array, ""], sizes: Sizes) -> Parameters:
    """Two, of features."""
    first, second = jax.random.split(key)
    return _network(first, "0", sizes.features, sizes.groups) | _network(
        second, "1", sizes.features, sizes.groups
    )


def _network(key: Key[Array, ""], name: str, width: int, groups: int) -> Parameters:
    """One hidden layer, drawn as `torch.nn.Linear` is; the last begins at 0: at first, a guess
    without a tendency.
    """
    bound = width**-0.5
    return {
        f"in{name}": jax.random.uniform(key, (HIDDEN, width), jnp.float32, -bound, bound),
        f"bias{name}": jnp.zeros(HIDDEN),
        f"out{name}": jnp.zeros((groups, HIDDEN)),
        f"prior{name}": jnp.zeros(groups),
    }


def _guess(parameters: Parameters, name: str, z: Float[Array, "r w b"]) -> Float[Array, "r g b"]:
    hidden = jax.nn.relu(
        _product(parameters[f"in{name}"], z) + parameters[f"bias{name}"][..., None]
    )
    return _product(parameters[f"out{name}"], hidden) + parameters[f"prior{name}"][..., None]


def _product(matrix: Float[Array, "r o i"], z: Float[Array, "r i b"]) -> Float[Array, "r o b"]:
    """Small matrices of many runs: sums of outer products, which XLA fuses, where a batched matmul
    is slow.
    """
    if matrix.shape[2] > HIDDEN:
        return jnp.einsum("roi,rib->rob", matrix, z)
    return sum(
        (matrix[:, :, i, None] * z[:, i, None] for i in range(matrix.shape[2])), start=jnp.zeros(())
    )


def _balanced(
    logits: Float[Array, "r g b"],
    weights: Float[Array, "*#r b"],
    membership: Float[Array, "*#r b g"],
) -> Float[Array, " r"]:
    """Cross-entropy of a guess of the group, averaged over the groups that are present."""
    logits = jnp.swapaxes(logits, 1, 2)
    losses = jax.nn.logsumexp(logits, -1) - jnp.sum(logits * membership, -1)
    totals = jnp.broadcast_to(group_sums(weights, membership), (len(losses), membership.shape[-1]))
    means = group_sums(weights * losses, membership) / jnp.maximum(totals, TINY)
    return means.sum(-1) / jnp.maximum((totals > 0).sum(-1), 1)
