"""Methods that hold the groups' rates together: penalties on soft rates, and constraints with
multipliers.

A rate is the mean score over the samples of an event (all, the positive or the negative ones), a
violation how far a group's rate is from that of all samples. Events make the criterion: demographic
parity has one, all samples; equal opportunity the positive ones; equalized odds both classes.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fairjax.training.objectives.base import TINY, Sizes, State, Step, weighted_mean

CRITERIA: dict[str, tuple[Callable[[Array], Array], ...]] = {
    "dp": (jnp.ones_like,),
    "eopp": (lambda y: y,),
    "eo": (lambda y: y, lambda y: 1 - y),
}
# Of the running rates that multipliers see: a batch holds few samples of a small group.
MOMENTUM = 0.9
MULTIPLIER_RATE = 0.02  # of the multipliers' ascent
LARGEST_MULTIPLIER = 20.0


def penalty(criterion: str) -> Callable:
    """The objective that adds strength · Σ violation², of scores, over events and groups.

    Source: Bechavod & Ligett 2017, Penalizing unfairness in binary classification; squared, and for
    any groups.
    """

    def loss(
        step: Step, strength: Float[Array, " r"], state: State
    ) -> tuple[Float[Array, " r"], State]:
        sums, totals = _event_sums(jax.nn.sigmoid(step.logits), step, criterion)
        apart = _violations(sums, totals)
        return weighted_mean(step.losses, step.weights) + strength * jnp.sum(
            apart**2, (1, 2)
        ), state

    return loss


def constraint(criterion: str) -> Callable:
    """The two-player objective: loss + Σ λ · violation of scores, with λ raised by the violation of
    decisions.

    The players see different rates, scores and decisions at 1/2, for only the first have a
    gradient; multipliers see running means of theirs. Strength is the violation that is allowed.

    Source: Cotter et al. 2019, Two-player games for efficient non-convex constrained optimization,
    algorithm 2, with an additive update; Agarwal et al. 2018, A reductions approach to fair
    classification.
    """

    def loss(
        step: Step, allowed: Float[Array, " r"], state: State
    ) -> tuple[Float[Array, " r"], State]:
        soft = _violations(*_event_sums(jax.nn.sigmoid(step.logits), step, criterion))
        decided = _event_sums((step.logits > 0).astype(jnp.float32), step, criterion)
        sums, totals = (
            MOMENTUM * state[name] + (1 - MOMENTUM) * new
            for name, new in zip(("sums", "totals"), decided)
        )
        multipliers = ascend(
            state["multipliers"], _violations(sums, totals), allowed[:, None, None]
        )
        signed = multipliers[..., 0] - multipliers[..., 1]
        value = weighted_mean(step.losses, step.weights) + jnp.sum(
            jax.lax.stop_gradient(signed) * soft, (1, 2)
        )
        return value, {"multipliers": multipliers, "sums": sums, "totals": totals}

    return loss


def ascend(
    multipliers: Float[Array, "*n 2"],
    violation: Float[Array, "*n"],
    allowed: Float[Array, "*#n"] | float,
    rate: float = MULTIPLIER_RATE,
) -> Float[Array, "*n 2"]:
    """One step of the multipliers of violation ≤ allowed and −violation ≤ allowed, kept in [0,
    LARGEST_MULTIPLIER].
    """
    excess = jnp.stack([violation - allowed, -violation - allowed], -1)
    return jnp.clip(multipliers + rate * jax.lax.stop_gradient(excess), 0.0, LARGEST_MULTIPLIER)


def constraint_state(criterion: str) -> Callable[[Sizes], State]:
    """Multipliers (events, groups, 2) and running sums (events, groups + 1) of one run, at 0."""
    events = len(CRITERIA[criterion])

    def state(sizes: Sizes) -> State:
        sums = jnp.zeros((events, sizes.groups + 1))
        return {"multipliers": jnp.zeros((events, sizes.groups, 2)), "sums": sums, "totals": sums}

    return state


def _event_sums(
    scores: Float[Array, "r b"], step: Step, criterion: str
) -> tuple[Float[Array, "r e f"], Float[Array, "r e f"]]:
    """Sums of scores and of weights over each event, in each group and (last) in all that are of a
    group.
    """
    weights, y = (jnp.broadcast_to(a, scores.shape) for a in (step.weights, step.y))
    of_any = jnp.concatenate([step.membership, step.membership.sum(-1, keepdims=True)], -1)
    contraction = "reb,bf->ref" if of_any.ndim == 2 else "reb,rbf->ref"
    inside = jnp.stack([weights * event(y) for event in CRITERIA[criterion]], 1)  # (r, e, b)
    return jnp.einsum(contraction, inside * scores[:, None], of_any), jnp.einsum(
        contraction, inside, of_any
    )


def _violations(
    sums: Float[Array, "r e f"], totals: Float[Array, "r e f"]
) -> Float[Array, "r e g"]:
    """Each group's rate less that of all; 0 where a group has no sample of the event."""
    rates = sums / jnp.maximum(totals, TINY)
    return jnp.where(totals[..., :-1] > 0, rates[..., :-1] - rates[..., -1:], 0.0)
