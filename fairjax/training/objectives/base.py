"""What an objective is, and what it sees of a training step.

All runs of a chunk take a step together, so every array has the run as its first axis: r runs, b
samples, g groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

State = dict[str, Array]  # what an objective keeps from step to step, the run first
Parameters = dict[str, Array]  # what it trains besides the head
TINY = 1e-12


class Step(NamedTuple):
    """One step of all runs. Samples are shared by the runs (b) or each run's own (r, b).

    Attributes:
      losses: (r, b) of each sample.
      weights: weight of each sample, ≥ 0; 0 leaves it out.
      membership: (…, b, g) 1 where a sample is of a group; a sample of unknown group has a row of
        zeros.
      y: labels in {0, 1}.
      logits: (r, b) of the positive class.
      outputs: (r, k, b) what the logits were made of.
      features: (r, h, b) the representation before the last layer; of a linear head, the logit.
      x: (…, b, d) the embeddings.
      parameters: what the objective trains besides the head.
    """

    losses: Float[Array, "r b"]
    weights: Float[Array, "*r b"]
    membership: Float[Array, "*r b g"]
    y: Float[Array, "*r b"] = None  # type: ignore[assignment]
    logits: Float[Array, "r b"] = None  # type: ignore[assignment]
    outputs: Float[Array, "r k b"] = None  # type: ignore[assignment]
    features: Float[Array, "r h b"] = None  # type: ignore[assignment]
    x: Float[Array, "*r b d"] = None  # type: ignore[assignment]
    parameters: Parameters = {}  # noqa: RUF012


class Sizes(NamedTuple):
    """What the shapes of states and parameters follow from: groups g, width h of the features,
    width d of x.
    """

    groups: int
    features: int
    width: int


class Strength(NamedTuple):
    """The one number that a method is tuned by.

    Attributes:
      meaning: in words.
      default: value if none is given.
      path: values from weak to strong, for a sweep.
    """

    meaning: str
    default: float
    path: tuple[float, ...]


LossFunction = Callable[[Step, Float[Array, " r"], State], tuple[Float[Array, " r"], State]]
# key of the epoch, membership of cells (groups, or groups × classes), strengths → weights of the
# training samples
CellWeights = Callable[
    [Key[Array, ""], Float[Array, "n c"], Float[Array, " r"]], Float[Array, "r n"]
]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A row of the table of methods.

    Attributes:
      name, title, paper: how it is called, in words, and where it is from.
      loss: (step, strength (r,), state) → loss (r,) and the state after the step.
      strength: None for a method without one.
      grouped: whether it needs to know the groups of an attribute.
      state: sizes → what one run keeps from step to step; {} by default.
      parameters: key, sizes → what one run trains besides its head; {} by default. All descend the
        same loss: what must ascend (an adversary's opponent) goes through `reverse`.
      outputs: number of groups → outputs of the head; its logit is their mean.
      sample_weights: weights of the training samples, drawn anew each epoch.
      cells: what `sample_weights` balances: "group" or "group × class".
      workspace: samples of a batch → numbers that its largest arrays hold for each run.
      two_stage: whether a first model is trained, whose errors on the training samples then weigh 1
        + strength.
      lowers_mean_loss: whether it lowers the mean loss and nothing else, so that the epoch with the
        least of it is the one to keep.
      convex: whether a linear head's loss is a mean with fixed weights, which has one optimum.
      of_losses: whether it sees losses, weights and groups alone, so that it serves masks as well.
    """

    name: str
    title: str
    paper: str
    loss: LossFunction
    strength: Strength | None = None
    grouped: bool = True
    state: Callable[[Sizes], State] = lambda sizes: {}
    parameters: Callable[[Key[Array, ""], Sizes], Parameters] = lambda key, sizes: {}
    outputs: Callable[[int], int] = lambda groups: 1
    sample_weights: CellWeights | None = None
    cells: str = "group"
    workspace: Callable[[int], int] = lambda batch: 0
    two_stage: bool = False
    lowers_mean_loss: bool = False
    convex: bool = False
    of_losses: bool = False


def weighted_mean(
    values: Float[Array, "r b"], weights: Float[Array, "*#r b"]
) -> Float[Array, " r"]:
    """Returns (r,) Σ w v / Σ w; 0 where all weights are 0."""
    return jnp.sum(weights * values, -1) / jnp.maximum(jnp.sum(weights, -1), TINY)


def group_sums(
    values: Float[Array, "*#r b"], membership: Float[Array, "*#r b g"]
) -> Float[Array, "*r g"]:
    """Sums of values over the samples of each group."""
    if membership.ndim == 2:
        return values @ membership
    return jnp.einsum("rb,rbg->rg", jnp.broadcast_to(values, membership.shape[:2]), membership)


def group_means(
    values: Float[Array, "r b"], weights: Float[Array, "*#r b"], membership: Float[Array, "*#r b g"]
) -> tuple[Float[Array, "r g"], Float[Array, "r g"]]:
    """Returns the weighted mean of each group (0 for one that is absent), and the groups' weights
    (r, g).
    """
    totals = jnp.broadcast_to(group_sums(weights, membership), (len(values), membership.shape[-1]))
    return group_sums(weights * values, membership) / jnp.maximum(totals, TINY), totals


def reverse(tree: Any, strength: Float[Array, " r"] | float = 1.0) -> Any:
    """Passes arrays on as they are, and their gradients with the opposite sign, times `strength`.

    Source: Ganin & Lempitsky 2015, Unsupervised domain adaptation by backpropagation.
    """

    def turned(a: Array) -> Array:
        factor = jnp.reshape(jnp.asarray(strength), (-1, *[1] * (a.ndim - 1)))
        return jax.lax.stop_gradient(a * (1 + factor)) - factor * a

    return jax.tree.map(turned, tree)


def describe(objective: Objective) -> Mapping[str, str]:
    """What a table of methods says of one."""
    strength = objective.strength
    return {
        "method": objective.name,
        "what": objective.title,
        "strength": f"{strength.meaning} ({strength.default:g})" if strength else "",
        "paper": objective.paper,
    }
