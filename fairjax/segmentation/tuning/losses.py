"""Losses of low-resolution masks, and the methods that a mask decoder is tuned with.

A sample is one object under one prompt. Its loss is a mean over the model's candidate masks:
whichever of them the model rates best is then one that was trained.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fairjax.training import objectives
from fairjax.training.objectives import Objective, Step, Strength
from fairjax.training.objectives.base import State, group_sums, weighted_mean

# of Dice in the loss, against the cross-entropy: SAMed (Zhang & Liu 2023) and FairSeg's SAMed
DICE_WEIGHT = 0.8
SMOOTH = 1e-5
OVERLAP, PREDICTED, TRUE, ENTROPY = range(4)  # rows of the sums


def mask_sums(
    logits: Float[Array, "m h w"], truth: Bool[Array, "h w"], inside: Bool[Array, "h w"]
) -> Float[Array, "4 m"]:
    """What the loss of one sample is made of, for each candidate mask.

    Args:
      logits: logits of m candidates.
      truth: the object.
      inside: pixels that the image fills; those of the padding count for nothing.

    Returns:
      Σ p y, Σ p², Σ y (sums over pixels, as fractions of the image's), and the mean cross-entropy.
    """
    n = jnp.maximum(inside.sum(), 1)
    y = (truth & inside).astype(jnp.float32)
    p = jax.nn.sigmoid(logits) * inside
    entropy = (jax.nn.softplus(logits) - y * logits) * inside
    terms = jnp.stack([p * y, p**2, jnp.broadcast_to(y, p.shape), entropy])
    return terms.sum((-2, -1)) / n


def dice_loss(overlap: Array, predicted: Array, true: Array) -> Array:
    """1 − 2 Σ p y / (Σ p² + Σ y²), the form with squares.

    Source: Milletari et al. 2016, V-Net: fully convolutional neural networks for volumetric medical
    image segmentation.
    """
    return 1 - (2 * overlap + SMOOTH) / (predicted + true + SMOOTH)


def sample_losses(sums: Float[Array, "*s 4 m"]) -> Float[Array, "*s"]:
    """Dice and cross-entropy in their shares, averaged over the candidates."""
    overlap, predicted, true, entropy = jnp.moveaxis(sums, -2, 0)
    losses = DICE_WEIGHT * dice_loss(overlap, predicted, true) + (1 - DICE_WEIGHT) * entropy
    return losses.mean(-1)


def febs(step: Step, gamma: Float[Array, " r"], state: State) -> tuple[Float[Array, " r"], State]:
    """Fair error-bound scaling: the Dice loss of the batch, whose predictions are scaled by their
    group's factor.

    With D_g the Dice loss of group g in the batch, pixels taken together, the factor of a group is
    w_g = tanh((min D / D_g)^γ), the minimum being over the groups that are there; no gradient goes
    through it. Probabilities p become w_g p in the Dice loss of the batch, as in the published
    code; the cross-entropy stays as it is. A sample of unknown group has the largest factor,
    tanh(1). Scaled predictions leave a larger loss to a group with larger errors, but the gradient
    that reaches them is scaled too: where a group is far behind, little is asked of it.

    Source: Tian et al. 2024, FairSeg: a large-scale medical image segmentation dataset for fairness
    learning using segment anything model with fair error-bound scaling. Groups that a batch lacks
    are left out of the minimum here; in the published code they make every factor 0.

    Args:
      step: its `outputs` (r, 4, b) are the sums of `mask_sums`, averaged over candidates.
      gamma: (r,) γ; 0 scales all alike.
      state: none.
    """
    sums, weights = step.outputs, jnp.broadcast_to(step.weights, step.losses.shape)
    factor = febs_factors(sums, weights, step.membership, gamma)
    known = step.membership.sum(-1) > 0
    of_sample = jnp.einsum(
        "rg,bg->rb" if step.membership.ndim == 2 else "rg,rbg->rb", factor, step.membership
    )
    scale = jnp.where(known, of_sample, jnp.tanh(1.0))
    overlap, predicted, true, entropy = jnp.moveaxis(sums, 1, 0)
    total = [jnp.sum(weights * part, -1) for part in (scale * overlap, scale**2 * predicted, true)]
    return DICE_WEIGHT * dice_loss(*total) + (1 - DICE_WEIGHT) * weighted_mean(
        entropy, weights
    ), state


def febs_factors(
    sums: Float[Array, "r 4 b"],
    weights: Float[Array, "#r b"],
    membership: Float[Array, "*#r b g"],
    gamma: Float[Array, " r"],
) -> Float[Array, "r g"]:
    """The factor of every group; 0 of one that the batch lacks."""
    parts = [group_sums(weights * sums[:, row], membership) for row in (OVERLAP, PREDICTED, TRUE)]
    losses = jax.lax.stop_gradient(dice_loss(*parts))
    present = group_sums(weights, membership) > 0
    losses = jnp.maximum(losses, SMOOTH)
    least = jnp.min(losses, axis=-1, where=present, initial=jnp.inf)[:, None]
    return jnp.where(present, jnp.tanh((least / losses) ** gamma[:, None]), 0.0)


FEBS = Objective(
    "febs",
    "predictions scaled by their group's error bound",
    "Tian et al. 2024, FairSeg: a large-scale medical image segmentation dataset for fairness "
    "learning using segment anything model with fair error-bound scaling",
    febs,
    Strength(
        "power γ of the ratio of the groups' losses",
        1.0,
        (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0),
    ),
)


def methods() -> dict[str, Objective]:
    """The methods that a mask decoder is tuned with, by name: those of losses alone, and FEBS."""
    of_losses = {name: row for name, row in objectives.METHODS.items() if row.of_losses}
    return of_losses | {FEBS.name: FEBS}
