"""Heads of many runs, trained by one method, as one program.

Every array of the state has the run as its first axis. In the shared order one step of all linear
probes is one (r, d) × (d, b) matmul forward and one (r, b) × (b, d) backward; learning rates,
weight decays, strengths of the method and the early-stopping mask are vectors over runs, so nothing
is compiled twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from fairjax.training import averaging
from fairjax.training.averaging import per_run
from fairjax.training.objectives import Step
from fairjax.training.objectives.base import Sizes
from fairjax.training.objectives.losses import log_loss
from fairjax.training.optimizer import ADAM, adamw, schedule
from fairjax.training.program import ProbeConfig, ProbeData, RunHyperparams, State, TrainSpec
from fairjax.utils.random import permutation, stream


class Sample(NamedTuple):
    """What a step is made of: b samples that runs share, or (r, b).

    Attributes:
      x: what `Forward` takes.
      y, weights, membership: as in `ProbeData`; weights may be (r, b).
    """

    x: Any
    y: Float[Array, "*r b"]
    weights: Float[Array, "*r b"]
    membership: Float[Array, "*r b g"]


# Trained arrays of all runs, and what a sample is → outputs (r, k, b), features (r, h, b),
# embeddings ([r,] b, d).
Forward = Callable[[dict[str, Array], Any], tuple[Array, Array, Array]]


def init(
    key: Key[Array, ""],
    spec: TrainSpec,
    data: ProbeData,
    hyperparams: RunHyperparams,
    errors: UInt8[Array, "r _n"],
) -> State:
    """Fresh heads, drawn from the seed alone.

    Args:
      key: key of the experiment.
      spec: what is trained.
      data: for its sizes.
      hyperparams: hyper-parameters of r runs.
      errors: (r, n) of the first model, for the second of two; else (r, 1) zeros.
    """
    d, outputs, objective = data.x.shape[1], spec.outputs, spec.method.objective
    shapes = sizes(spec, d)
    keys = jax.vmap(lambda seed: stream(key, "init", seed))(hyperparams.seed)
    params = {
        "head": jax.vmap(lambda key: spec.head.init(key, outputs, d))(keys),
        "objective": jax.vmap(lambda key: objective.parameters(jax.random.fold_in(key, 1), shapes))(
            keys
        ),
    }
    r = len(hyperparams.seed)
    zeros = jnp.zeros(r, jnp.int32)
    return State(
        resampled_counts(key, spec.config, data, hyperparams),
        errors,
        params,
        ADAM.init(params),
        jax.tree.map(lambda a: jnp.broadcast_to(a, (r, *a.shape)), objective.state(shapes)),
        averaging.init(spec.method.average, params["head"]),
        params["head"],
        jnp.full(r, jnp.inf, jnp.float32),
        zeros,
        zeros,
        jnp.zeros((), jnp.int32),
    )


def sizes(spec: TrainSpec, d: int) -> Sizes:
    """What the shapes of a method's state and parameters follow from."""
    return Sizes(spec.groups, spec.head.features(spec.outputs, d), d)


def run_epoch(
    key: Key[Array, ""],
    spec: TrainSpec,
    data: ProbeData,
    hyperparams: RunHyperparams,
    state: State,
    epoch: Int[Array, ""],
) -> State:
    """Trains all runs on the training split once, and measures them on the validation split."""
    config = spec.config
    batches = order(key, config, hyperparams, len(data.y), epoch)
    weights_rn = run_weights(stream(key, "resample", epoch), spec, data, hyperparams, state)

    def forward(parameters, x):
        return *spec.head.forward(parameters | data.constants, x), x

    def one(step_state, batch):
        index, present = batch
        sample = make_batch(
            data, weights_rn, data.x.at[index].get(mode="promise_in_bounds"), index, present
        )
        return step(
            spec, hyperparams, active_runs(config, state), len(data.y), forward, step_state, sample
        ), None

    step_state, _ = jax.lax.scan(one, step_state_of(state), batches)
    loss = validation_loss(spec, data, step_state.params["head"])
    return end_epoch(spec, state, step_state, loss, epoch)


class StepState(NamedTuple):
    """What changes from step to step; the fields are `State`'s."""

    params: Any
    optimizer: Any
    objective: dict[str, Array]
    average: dict[str, Any]
    step: Int[Array, ""]


def step_state_of(state: State) -> StepState:
    """What an epoch begins with."""
    return StepState(*(getattr(state, name) for name in StepState._fields))


def step(
    spec: TrainSpec,
    hyperparams: RunHyperparams,
    active: Bool[Array, " r"],
    n: int,
    forward: Forward,
    step_state: StepState,
    sample: Sample,
) -> StepState:
    """One step of AdamW, of all runs.

    Args:
      spec: how runs are trained.
      hyperparams: hyper-parameters of r runs.
      active: (r,) whether a run still trains.
      n: training samples, for the schedule.
      forward: see `Forward`.
      step_state: before the step.
      sample: what the step sees.
    """
    config, method = spec.config, spec.method
    pace = schedule(config, -(-n // config.batch_size))(step_state.step)
    gradient, objective = _gradient(
        spec, hyperparams, forward, step_state.params, sample, step_state.objective
    )
    rate = jnp.where(active, hyperparams.learning_rate * pace, 0.0)
    params, optimizer = adamw(
        gradient, step_state.optimizer, step_state.params, rate, hyperparams.weight_decay
    )
    average = averaging.add_step(method.average, step_state.average, params["head"])
    return StepState(params, optimizer, objective, average, step_state.step + 1)


def end_epoch(
    spec: TrainSpec,
    state: State,
    step_state: StepState,
    loss: Float[Array, " r"],
    epoch: Int[Array, ""],
) -> State:
    """Updates the best parameters and the early-stopping counters at the end of an epoch.

    Args:
      spec: how runs are trained.
      state: at the beginning of the epoch.
      step_state: after its last step.
      loss: (r,) on the validation split.
      epoch: number of the epoch.
    """
    config, kind, head = spec.config, spec.method.average, step_state.params["head"]
    active = active_runs(config, state)
    better = active & (loss < state.best_loss) if config.keep == "best" else jnp.ones_like(active)
    average = averaging.add_epoch(kind, step_state.average, head, loss, epoch, config.epochs)
    return state._replace(
        **step_state._replace(average=average)._asdict(),
        best=jax.tree.map(
            lambda new, old: jnp.where(per_run(better, new), new, old), head, state.best
        ),
        best_loss=jnp.where(better, loss, state.best_loss),
        best_epoch=jnp.where(better, epoch, state.best_epoch),
        stale=jnp.where(better, 0, state.stale + active),
    )


def finalize(
    spec: TrainSpec, state: State, loss: Callable[[dict[str, Array]], Float[Array, " r"]]
) -> dict[str, Any]:
    """The heads to keep, averaged if the method says so, with their validation loss and epoch (r,).

    Args:
      spec: how they were trained.
      state: after the last epoch.
      loss: heads → their validation loss (r,).
    """
    kind = spec.method.average
    if not kind:
        return {
            "head": state.best,
            "validation_loss": state.best_loss,
            "best_epoch": state.best_epoch,
        }
    head = averaging.result(kind, state.average, state.params["head"])
    last = jnp.full_like(state.best_epoch, spec.config.epochs - 1)
    return {"head": head, "validation_loss": loss(head), "best_epoch": last}


def validation_loss(spec: TrainSpec, data: ProbeData, head: dict[str, Array]) -> Float[Array, " r"]:
    """Mean cross-entropy (r,) on the validation split."""
    logits = spec.head.logits(head | data.constants, data.x_validation)
    return log_loss(logits, data.y_validation).mean(-1)


def training_errors(
    spec: TrainSpec, data: ProbeData, head: dict[str, Array]
) -> UInt8[Array, "r n"]:
    """1 where a training sample is on the wrong side of 1/2."""
    logits = spec.head.logits(head | data.constants, data.x)
    return ((logits > 0) != (data.y > 0.5)).astype(jnp.uint8)


def make_batch(
    data: ProbeData, weights_rn: Array | None, x: Any, index: Array, present: Array
) -> Sample:
    """The samples of a step, of which `x` is read already; with each run's multiples, weights are
    (r, b).
    """
    columns = (data.y, data.weights, data.membership)
    y, weights, membership = (a.at[index].get(mode="promise_in_bounds") for a in columns)
    weights = weights * present
    if weights_rn is not None:
        weights = weights * jnp.take_along_axis(weights_rn, jnp.atleast_2d(index), axis=1)
    return Sample(x, y, weights, membership)


def _gradient(
    spec: TrainSpec,
    hyperparams: RunHyperparams,
    forward: Forward,
    params: Any,
    sample: Sample,
    state: dict[str, Array],
) -> tuple[Any, dict[str, Array]]:
    """Gradient of every run's loss; sharpness-aware, that at the worst point within the radius, to
    first order.
    """
    objective, strength = spec.method.objective, hyperparams.strength

    def loss(params):
        outputs, features, x = forward(params["head"], sample.x)
        logits = outputs.mean(1)
        seen = Step(
            losses=log_loss(logits, sample.y),
            weights=sample.weights,
            membership=sample.membership,
            y=sample.y,
            logits=logits,
            outputs=outputs,
            features=features,
            x=x,
            parameters=params["objective"],
        )
        value, new = objective.loss(seen, strength, state)
        return jnp.sum(value), new

    gradient, new = jax.grad(loss, has_aux=True)(params)
    if spec.method.sharpness:
        radius = (
            strength if objective.strength is None else jnp.full_like(strength, spec.config.radius)
        )
        normalize = optax.contrib.normalize().update
        unit = jax.vmap(lambda g: normalize(g, optax.contrib.NormalizeState())[0])(gradient)
        ascended = jax.tree.map(
            lambda p, u: p + per_run(radius, p) * jnp.where(jnp.isfinite(u), u, 0.0), params, unit
        )
        gradient, _ = jax.grad(loss, has_aux=True)(ascended)
    return gradient, new


def run_weights(
    key: Key[Array, ""], spec: TrainSpec, data: ProbeData, hyperparams: RunHyperparams, state: State
) -> Float[Array, "r n"] | None:
    """How much each training sample weighs in each run (r, n), this epoch; None where runs do not
    differ.
    """
    if not spec.weighted:
        return None
    objective = spec.method.objective
    run_weights = jnp.broadcast_to(
        state.counts.astype(jnp.float32), (len(hyperparams.seed), len(data.y))
    )
    if objective.sample_weights is not None:
        run_weights = run_weights * objective.sample_weights(
            key, cells_of(objective.cells, data), hyperparams.strength
        )
    if spec.second_stage:
        run_weights = run_weights * (1 + hyperparams.strength[:, None] * state.errors)
    return run_weights


def cells_of(kind: str, data: ProbeData) -> Float[Array, "n c"]:
    """Membership of groups, or of groups × classes."""
    if kind == "group":
        return data.membership
    y = data.y[:, None]
    return jnp.concatenate([data.membership * y, data.membership * (1 - y)], axis=1)


def resampled_counts(
    key: Key[Array, ""], config: ProbeConfig, data: ProbeData, hyperparams: RunHyperparams
) -> UInt8[Array, "r _n"]:
    """How often each sample's patient was drawn, of as many draws with replacement as there are
    patients.
    """
    if config.resample == "none":
        return jnp.ones((len(hyperparams.seed), 1), jnp.uint8)
    n = len(data.patients)
    n_patients = data.patients.max() + 1

    def draw(seed):
        drawn = jax.random.randint(stream(key, "bootstrap", seed), (n,), 0, n_patients)
        return jnp.zeros(n, jnp.uint8).at[drawn].add(jnp.arange(n) < n_patients)[data.patients]

    return jax.lax.map(draw, hyperparams.seed)


def active_runs(config: ProbeConfig, state: State) -> Bool[Array, " r"]:
    """Which runs (r,) have not lost patience."""
    return state.stale < config.patience if config.patience else jnp.ones_like(state.stale, bool)


def order(
    key: Key[Array, ""],
    config: ProbeConfig,
    hyperparams: RunHyperparams,
    n: int,
    epoch: Int[Array, ""],
) -> tuple[Int[Array, "s *r b"], Float[Array, "s b"]]:
    """Rows of each step, shared (s, b) or per run (s, r, b), and which of them are real: the last
    batch is padded.
    """
    steps = -(-n // config.batch_size)
    if config.order == "shared":
        rows = permutation(stream(key, "order", epoch), n)
    else:
        rows = jax.vmap(lambda seed: permutation(stream(key, "order", epoch, seed), n))(
            hyperparams.seed
        )
    padding = steps * config.batch_size - n
    rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, padding)])
    rows = jnp.moveaxis(rows.reshape(*rows.shape[:-1], steps, config.batch_size), -2, 0)
    present = (jnp.arange(steps * config.batch_size) < n).astype(jnp.float32)
    return rows, present.reshape(steps, config.batch_size)
