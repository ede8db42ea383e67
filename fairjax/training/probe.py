"""The linear probe of many runs as one program.

A head is a plain dict of arrays whose first axis is the run: `kernel` (r, d), `bias` (r,). In the shared order one step
of all runs is one (r, d) × (d, b) matmul forward and one (r, b) × (b, d) backward; learning rates, weight decays and
the early-stopping mask are vectors over runs, so nothing is compiled twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from fairjax.errors import UserError
from fairjax.random import permutation, stream
from fairjax.training.objectives import binary_cross_entropy
from fairjax.training.runs import Run

ORDERS = ("shared", "per_run")
CLASS_WEIGHTS = ("none", "balanced")
RESAMPLES = ("none", "patients")


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """How a probe is trained; the defaults are FairMedFM's protocol.

    Attributes:
      epochs, warmup_epochs: length of training and of the linear warm-up; then a cosine.
      final_lr_fraction: where the cosine ends, as a share of the peak (FairMedFM: 2.5e-4 → 1e-5).
      batch_size: samples per step.
      class_weight: `none`, or `balanced`: each class has the same total weight in the loss.
      standardize: whether features are z-scored by the training split's mean and standard deviation.
      order: `shared` (all runs see one order of samples per epoch) or `per_run` (each its own; costs a gather per run).
      resample: `none`, or `patients`: each seed trains on a bootstrap of the training patients, so that seeds differ by
        what was there to learn from and not by the initialisation alone.
      patience: epochs without a better validation loss after which a run stands still; 0: never. The parameters of the
        best epoch are kept in any case.
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

    def __post_init__(self):
        for field, choices in (("order", ORDERS), ("class_weight", CLASS_WEIGHTS), ("resample", RESAMPLES)):
            if getattr(self, field) not in choices:
                raise UserError(f"training.{field} must be one of {choices}, not {getattr(self, field)!r}")
        if not 0 <= self.warmup_epochs < self.epochs or self.batch_size < 1 or self.patience < 0:
            raise UserError("training needs 0 ≤ warmup_epochs < epochs, batch_size ≥ 1 and patience ≥ 0")


class ProbeData(NamedTuple):
    """Embeddings and labels of the training and validation splits, as the program takes them.

    Attributes:
      x: (n, d) training features.
      y: (n,) labels in {0, 1}.
      weights: (n,) weight of each sample in the loss.
      patients: (n,) codes of the patients, below n.
      x_validation, y_validation: (m, d), (m,).
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    weights: Float[Array, " n"]
    patients: Int[Array, " n"]
    x_validation: Float[Array, "m d"]
    y_validation: Float[Array, " m"]


class Rates(NamedTuple):
    """What differs between runs besides the parameters: (r,) each."""

    seed: Int[Array, " r"]
    learning_rate: Float[Array, " r"]
    weight_decay: Float[Array, " r"]


class State(NamedTuple):
    """A sweep in mid-training; every array's first axis is the run.

    Attributes:
      counts: how often each training sample counts, (r, n) with `resample`, (r, 1) ones without.
      params: the heads.
      optimizer: optax state of Adam's moments.
      best: the heads of each run's best epoch.
      best_loss, best_epoch: its validation loss and number (r,).
      stale: epochs since then (r,).
      step: steps taken.
    """

    counts: UInt8[Array, "r _n"]
    params: dict[str, Array]
    optimizer: Any
    best: dict[str, Array]
    best_loss: Float[Array, " r"]
    best_epoch: Int[Array, " r"]
    stale: Int[Array, " r"]
    step: Int[Array, ""]


ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def rates(runs: Sequence[Run]) -> Rates:
    """Stacks the hyper-parameters of runs."""
    return Rates(
        jnp.array([run.seed for run in runs], jnp.int32),
        jnp.array([run.learning_rate for run in runs], jnp.float32),
        jnp.array([run.weight_decay for run in runs], jnp.float32),
    )


def sample_weights(y: np.ndarray, class_weight: str) -> Float[np.ndarray, " n"]:
    """Weights (n,) of mean 1: all ones, or n / (2 n_class)."""
    counts = np.bincount(y.astype(int), minlength=2)
    per_class = np.ones(2) if class_weight == "none" else len(y) / (2 * counts)
    return per_class[y.astype(int)].astype(np.float32)


def init(key: Key[Array, ""], config: ProbeConfig, data: ProbeData, rates: Rates) -> State:
    """Fresh heads: uniform in ±1/√d, as `torch.nn.Linear`, drawn from the seed alone."""
    d = data.x.shape[1]
    bound = d**-0.5
    keys = jax.vmap(lambda seed: stream(key, "init", seed))(rates.seed)
    draw = jax.vmap(lambda key: jax.random.uniform(key, (d + 1,), jnp.float32, -bound, bound))(keys)
    params = {"kernel": draw[:, :d], "bias": draw[:, d]}
    r = len(rates.seed)
    zeros = jnp.zeros(r, jnp.int32)
    return State(
        _counts(key, config, data, rates),
        params,
        ADAM.init(params),
        params,
        jnp.full(r, jnp.inf, jnp.float32),
        zeros,
        zeros,
        jnp.zeros((), jnp.int32),
    )


def logits(params: dict[str, Array], x: Float[Array, "*r b d"]) -> Float[Array, "r b"]:
    """Logits (r, b) of all heads on shared samples (b, d), or on each run's own (r, b, d)."""
    return jnp.einsum("bd,rd->rb" if x.ndim == 2 else "rbd,rd->rb", x, params["kernel"]) + params["bias"][:, None]


def epoch(
    key: Key[Array, ""], config: ProbeConfig, data: ProbeData, rates: Rates, state: State, number: Int[Array, ""]
) -> State:
    """One pass over the training split and one look at the validation split, for all runs."""
    n = len(data.y)
    steps = -(-n // config.batch_size)
    rows = _order(key, config, rates, n, steps, number)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, config.warmup_epochs * steps, config.epochs * steps, config.final_lr_fraction
    )
    active = _active(config, state)

    def step(carry, batch):
        params, optimizer, count = carry
        index, present = batch
        x, y, weights = (a.at[index].get(mode="promise_in_bounds") for a in (data.x, data.y, data.weights))
        weights = weights * present
        if config.resample != "none":
            weights = weights * jnp.take_along_axis(state.counts, jnp.atleast_2d(index), axis=1)

        def loss(params):
            return jnp.sum(binary_cross_entropy(logits(params, x), y, weights))

        gradient = jax.grad(loss)(params)
        direction, optimizer = ADAM.update(gradient, optimizer, params)
        rate = jnp.where(active, rates.learning_rate * schedule(count), 0.0)
        params = jax.tree.map(
            lambda p, u: p - _per_run(rate, p) * (u + _per_run(rates.weight_decay, p) * p), params, direction
        )
        return (params, optimizer, count + 1), None

    (params, optimizer, count), _ = jax.lax.scan(step, (state.params, state.optimizer, state.step), rows)
    loss = binary_cross_entropy(logits(params, data.x_validation), data.y_validation, jnp.ones_like(data.y_validation))
    better = active & (loss < state.best_loss)
    return State(
        state.counts,
        params,
        optimizer,
        jax.tree.map(lambda new, old: jnp.where(_per_run(better, new), new, old), params, state.best),
        jnp.where(better, loss, state.best_loss),
        jnp.where(better, number, state.best_epoch),
        jnp.where(better, 0, state.stale + active),
        count,
    )


def _per_run(vector: Array, like: Array) -> Array:
    """(r,) with as many trailing axes of length 1 as `like` has."""
    return vector.reshape(-1, *[1] * (like.ndim - 1))


def _counts(key: Key[Array, ""], config: ProbeConfig, data: ProbeData, rates: Rates) -> UInt8[Array, "r _n"]:
    """How often each sample's patient was drawn, of as many draws with replacement as there are patients."""
    if config.resample == "none":
        return jnp.ones((len(rates.seed), 1), jnp.uint8)
    n = len(data.patients)
    n_patients = data.patients.max() + 1

    def draw(seed):
        drawn = jax.random.randint(stream(key, "bootstrap", seed), (n,), 0, n_patients)
        return jnp.zeros(n, jnp.uint8).at[drawn].add(jnp.arange(n) < n_patients)[data.patients]

    return jax.lax.map(draw, rates.seed)


def _active(config: ProbeConfig, state: State) -> Bool[Array, " r"]:
    return state.stale < config.patience if config.patience else jnp.ones_like(state.stale, bool)


def _order(
    key: Key[Array, ""], config: ProbeConfig, rates: Rates, n: int, steps: int, number: Int[Array, ""]
) -> tuple[Int[Array, "s *r b"], Float[Array, "s b"]]:
    """Rows of each step, shared (s, b) or per run (s, r, b), and which of them are real: the last batch is padded."""

    if config.order == "shared":
        rows = permutation(stream(key, "order", number), n)
    else:
        rows = jax.vmap(lambda seed: permutation(stream(key, "order", number, seed), n))(rates.seed)
    padding = steps * config.batch_size - n
    rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, padding)])
    rows = jnp.moveaxis(rows.reshape(*rows.shape[:-1], steps, config.batch_size), -2, 0)
    present = (jnp.arange(steps * config.batch_size) < n).astype(jnp.float32)
    return rows, present.reshape(steps, config.batch_size)
