"""What the program of many runs is made of: its settings, its data, its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from fairjax.training.heads import Head
from fairjax.training.objectives import Method
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError

ORDERS = ("shared", "per_run")
CLASS_WEIGHTS = ("none", "balanced")
RESAMPLES = ("none", "patients")
KEEPS = ("best", "last")


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """How a probe is trained; the defaults are FairMedFM's protocol.

    Attributes:
      epochs, warmup_epochs: length of training and of the linear warm-up; then a cosine.
      final_lr_fraction: where the cosine ends, as a fraction of the peak (FairMedFM: 2.5e-4 →
        1e-5).
      batch_size: samples per step.
      class_weight: `none`, or `balanced`: each class has the same total weight in the loss.
      standardize: whether features are z-scored by the training split's mean and standard
        deviation.
      order: `shared` (all runs see one order of samples per epoch) or `per_run` (each its own;
        costs a gather per run).
      resample: `none`, or `patients`: each seed trains on a bootstrap of the training patients, so
        that seeds differ by what was there to learn from and not by the initialisation alone.
      keep: `best`, the parameters of the epoch with the least validation loss, or `last`. The loss
        is the mean cross-entropy, so that `best` is for methods that lower it.
      patience: epochs without a better validation loss after which a run stops; 0: never.
      radius: ρ of sharpness-aware minimisation, where the strength is another thing.
    """

    epochs: int = 100
    warmup_epochs: int = 5
    final_lr_fraction: float = 0.04
    batch_size: int = 128
    class_weight: str = "none"
    standardize: bool = True
    order: str = "shared"
    resample: str = "none"
    patience: int = 0
    keep: str = "best"
    radius: float = 0.05

    def __post_init__(self):
        choices_of = {
            "order": ORDERS,
            "class_weight": CLASS_WEIGHTS,
            "resample": RESAMPLES,
            "keep": KEEPS,
        }
        for field, choices in choices_of.items():
            if getattr(self, field) not in choices:
                raise UserError(
                    f"training.{field} must be one of {choices}, not {getattr(self, field)!r}"
                )
        if self.radius <= 0:
            raise UserError(f"training.radius must be above 0, not {self.radius:g}")
        if not 0 <= self.warmup_epochs < self.epochs or self.batch_size < 1 or self.patience < 0:
            raise UserError(
                "training needs 0 ≤ warmup_epochs < epochs, batch_size ≥ 1 and patience ≥ 0"
            )


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """What is compiled once: a head trained by a method.

    Attributes:
      config, head, method: what and how.
      groups: number of groups of the attribute that the method uses.
      second_stage: whether this is the second of two models, to which the errors of the first weigh
        more.
    """

    config: ProbeConfig
    head: Head
    method: Method
    groups: int = 0
    second_stage: bool = False

    @property
    def outputs(self) -> int:
        """Outputs of the head."""
        return self.method.objective.outputs(self.groups)

    @property
    def weighted(self) -> bool:
        """Whether samples weigh differently from run to run."""
        objective = self.method.objective
        return (
            self.config.resample != "none"
            or objective.sample_weights is not None
            or self.second_stage
        )


class ProbeData(NamedTuple):
    """Embeddings and labels of the training and validation splits, as the program takes them.

    Attributes:
      x: (n, d) training features.
      y: (n,) labels in {0, 1}.
      weights: (n,) weight of each sample in the loss.
      patients: (n,) codes of the patients, below n.
      membership: (n, g) 1 where a sample is of a group.
      x_validation, y_validation: (m, d), (m,).
      constants: constants of the head.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    weights: Float[Array, " n"]
    patients: Int[Array, " n"]
    membership: Float[Array, "n g"]
    x_validation: Float[Array, "m d"]
    y_validation: Float[Array, " m"]
    constants: dict[str, Array]


class RunHyperparams(NamedTuple):
    """What differs between runs besides the parameters: (r,) each."""

    seed: Int[Array, " r"]
    learning_rate: Float[Array, " r"]
    weight_decay: Float[Array, " r"]
    strength: Float[Array, " r"]


class State(NamedTuple):
    """A sweep in mid-training; every array's first axis is the run.

    Attributes:
      counts: how often each training sample counts, (r, n) with `resample`, (r, 1) ones without.
      errors: 1 where the first model of two erred, (r, n) in the second stage, (r, 1) zeros
        otherwise.
      params: `head`, and `objective`: what the method trains besides.
      optimizer: optax state of Adam's moments.
      objective: what the method keeps from step to step.
      average: sums of the heads that training passed through (`averaging`).
      best: the heads of each run's best epoch.
      best_loss, best_epoch: its validation loss and number (r,).
      stale: epochs since then (r,).
      step: steps taken.
    """

    counts: UInt8[Array, "r _n"]
    errors: UInt8[Array, "r _n"]
    params: dict[str, dict[str, Array]]
    optimizer: Any
    objective: dict[str, Array]
    average: dict[str, Any]
    best: dict[str, Array]
    best_loss: Float[Array, " r"]
    best_epoch: Int[Array, " r"]
    stale: Int[Array, " r"]
    step: Int[Array, ""]


def stack_hyperparams(runs: Sequence[Run]) -> RunHyperparams:
    """Stacks the hyper-parameters of runs; the strength of a method without one is 0."""
    return RunHyperparams(
        jnp.array([run.seed for run in runs], jnp.int32),
        jnp.array([run.learning_rate for run in runs], jnp.float32),
        jnp.array([run.weight_decay for run in runs], jnp.float32),
        jnp.array([run.strength or 0.0 for run in runs], jnp.float32),
    )


def sample_weights(y: np.ndarray, class_weight: str) -> Float[np.ndarray, " n"]:
    """Weights (n,) of mean 1: all ones, or n / (2 n_class)."""
    counts = np.bincount(y.astype(int), minlength=2)
    per_class = np.ones(2) if class_weight == "none" else len(y) / (2 * counts)
    return per_class[y.astype(int)].astype(np.float32)
