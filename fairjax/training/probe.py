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
from fairjax.training.program import ProbeConfig, ProbeData, Program, Rates, State
from fairjax.utils.random import permutation, stream

ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


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
    program: Program,
    data: ProbeData,
    rates: Rates,
    errors: UInt8[Array, "r _n"],
) -> State:
    """Fresh heads, drawn from the seed alone.

    Args:
      key: of the experiment.
      program: what is trained.
      data: for its sizes.
      rates: of r runs.
      errors: (r, n) of the first model, for the second of two; else (r, 1) zeros.
    """
    d, outputs, objective = data.x.shape[1], program.outputs, program.method.objective
    shapes = sizes(program, d)
    keys = jax.vmap(lambda seed: stream(key, "init", seed))(rates.seed)
    params = {
        "head": jax.vmap(lambda key: program.head.init(key, outputs, d))(keys),
        "objective": jax.vmap(lambda key: objective.parameters(jax.random.fold_in(key, 1), shapes))(
            keys
        ),
    }
    r = len(rates.seed)
    zeros = jnp.zeros(r, jnp.int32)
    return State(
        resampled_counts(key, program.config, data, rates),
        errors,
        params,
        ADAM.init(params),
        jax.tree.map(lambda a: jnp.broadcast_to(a, (r, *a.shape)), objective.state(shapes)),
        averaging.init(program.method.average, params["head"]),
        params["head"],
        jnp.full(r, jnp.inf, jnp.float32),
        zeros,
        zeros,
        jnp.zeros((), jnp.int32),
    )


def sizes(program: Program, d: int) -> Sizes:
    """What the shapes of a method's state and parameters follow from."""
    return Sizes(program.groups, program.head.features(program.outputs, d), d)


def epoch(
    key: Key[Array, ""],
    program: Program,
    data: ProbeData,
    rates: Rates,
    state: State,
    number: Int[Array, ""],
) -> State:
    """One pass over the training split and one look at the validation split, for all runs."""
    config = program.config
    batches = order(key, config, rates, len(data.y), number)
    multiplied = multiples(stream(key, "resample", number), program, data, rates, state)

    def forward(parameters, x):
        return *program.head.forward(parameters | data.constants, x), x

    def one(passing, batch):
        index, present = batch
        sample = take(
            data, multiplied, data.x.at[index].get(mode="promise_in_bounds"), index, present
        )
        return step(
            program, rates, active(config, state), len(data.y), forward, passing, sample
        ), None

    passing, _ = jax.lax.scan(one, passing_of(state), batches)
    loss = validation_loss(program, data, passing.params["head"])
    return close(program, state, passing, loss, number)


class Passing(NamedTuple):
    """What changes from step to step; the fields are `State`'s."""

    params: Any
    optimizer: Any
    objective: dict[str, Array]
    average: dict[str, Any]
    step: Int[Array, ""]


def passing_of(state: State) -> Passing:
    """What an epoch begins with."""
    return Passing(*(getattr(state, name) for name in Passing._fields))


def step(
    program: Program,
    rates: Rates,
    moving: Bool[Array, " r"],
    n: int,
    forward: Forward,
    passing: Passing,
    sample: Sample,
) -> Passing:
    """One step of AdamW, of all runs.

    Args:
      program: how runs are trained.
      rates: of r runs.
      moving: (r,) whether a run still trains.
      n: training samples, for the schedule.
      forward: see `Forward`.
      passing: before the step.
      sample: of the step.
    """
    config, method = program.config, program.method
    steps = -(-n // config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, config.warmup_epochs * steps, config.epochs * steps, config.final_lr_fraction
    )
    gradient, objective = _gradient(
        program, rates, forward, passing.params, sample, passing.objective
    )
    direction, optimizer = ADAM.update(gradient, passing.optimizer, passing.params)
    rate = jnp.where(moving, rates.learning_rate * schedule(passing.step), 0.0)
    params = jax.tree.map(
        lambda p, u: p - per_run(rate, p) * (u + per_run(rates.weight_decay, p) * p),
        passing.params,
        direction,
    )
    average = averaging.add_step(method.average, passing.average, params["head"])
    return Passing(params, optimizer, objective, average, passing.step + 1)


def close(
    program: Program,
    state: State,
    passing: Passing,
    loss: Float[Array, " r"],
    number: Int[Array, ""],
) -> State:
    """The end of an epoch: which runs were never better.

    Args:
      program: how runs are trained.
      state: at the beginning of the epoch.
      passing: after its last step.
      loss: (r,) on the validation split.
      number: of the epoch.
    """
    config, kind, head = program.config, program.method.average, passing.params["head"]
    moving = active(config, state)
    better = moving & (loss < state.best_loss) if config.keep == "best" else jnp.ones_like(moving)
    average = averaging.add_epoch(kind, passing.average, head, loss, number, config.epochs)
    return state._replace(
        **passing._replace(average=average)._asdict(),
        best=jax.tree.map(
            lambda new, old: jnp.where(per_run(better, new), new, old), head, state.best
        ),
        best_loss=jnp.where(better, loss, state.best_loss),
        best_epoch=jnp.where(better, number, state.best_epoch),
        stale=jnp.where(better, 0, state.stale + moving),
    )


def finish(
    program: Program, state: State, loss: Callable[[dict[str, Array]], Float[Array, " r"]]
) -> dict[str, Any]:
    """The heads to keep, averaged if the method says so, with their validation loss and epoch (r,).

    Args:
      program: how they were trained.
      state: after the last epoch.
      loss: heads → their validation loss (r,).
    """
    kind = program.method.average
    if not kind:
        return {
            "head": state.best,
            "validation_loss": state.best_loss,
            "best_epoch": state.best_epoch,
        }
    head = averaging.result(kind, state.average, state.params["head"])
    last = jnp.full_like(state.best_epoch, program.config.epochs - 1)
    return {"head": head, "validation_loss": loss(head), "best_epoch": last}


def validation_loss(
    program: Program, data: ProbeData, head: dict[str, Array]
) -> Float[Array, " r"]:
    """Mean cross-entropy (r,) on the validation split."""
    logits = program.head.logits(head | data.constants, data.x_validation)
    return log_loss(logits, data.y_validation).mean(-1)


def training_errors(
    program: Program, data: ProbeData, head: dict[str, Array]
) -> UInt8[Array, "r n"]:
    """1 where a training sample is on the wrong side of 1/2."""
    logits = program.head.logits(head | data.constants, data.x)
    return ((logits > 0) != (data.y > 0.5)).astype(jnp.uint8)


def take(data: ProbeData, multiplied: Array | None, x: Any, index: Array, present: Array) -> Sample:
    """The samples of a step, of which `x` is read already; with each run's multiples, weights are
    (r, b).
    """
    columns = (data.y, data.weights, data.membership)
    y, weights, membership = (a.at[index].get(mode="promise_in_bounds") for a in columns)
    weights = weights * present
    if multiplied is not None:
        weights = weights * jnp.take_along_axis(multiplied, jnp.atleast_2d(index), axis=1)
    return Sample(x, y, weights, membership)


def _gradient(
    program: Program,
    rates: Rates,
    forward: Forward,
    params: Any,
    sample: Sample,
    state: dict[str, Array],
) -> tuple[Any, dict[str, Array]]:
    """Gradient of every run's loss; sharpness-aware, that at the worst point within the radius, to
    first order.
    """
    objective, strength = program.method.objective, rates.strength

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
    if program.method.sharpness:
        radius = (
            strength
            if objective.strength is None
            else jnp.full_like(strength, program.config.radius)
        )
        normalize = optax.contrib.normalize().update
        unit = jax.vmap(lambda g: normalize(g, optax.contrib.NormalizeState())[0])(gradient)
        ascended = jax.tree.map(
            lambda p, u: p + per_run(radius, p) * jnp.where(jnp.isfinite(u), u, 0.0), params, unit
        )
        gradient, _ = jax.grad(loss, has_aux=True)(ascended)
    return gradient, new


def multiples(
    key: Key[Array, ""], program: Program, data: ProbeData, rates: Rates, state: State
) -> Float[Array, "r n"] | None:
    """How much each training sample weighs in each run (r, n), this epoch; None where runs do not
    differ.
    """
    if not program.weighted:
        return None
    objective = program.method.objective
    multiples = jnp.broadcast_to(state.counts.astype(jnp.float32), (len(rates.seed), len(data.y)))
    if objective.sample_weights is not None:
        multiples = multiples * objective.sample_weights(
            key, cells_of(objective.cells, data), rates.strength
        )
    if program.second:
        multiples = multiples * (1 + rates.strength[:, None] * state.errors)
    return multiples


def cells_of(kind: str, data: ProbeData) -> Float[Array, "n c"]:
    """Membership of groups, or of groups × classes."""
    if kind == "group":
        return data.membership
    y = data.y[:, None]
    return jnp.concatenate([data.membership * y, data.membership * (1 - y)], axis=1)


def resampled_counts(
    key: Key[Array, ""], config: ProbeConfig, data: ProbeData, rates: Rates
) -> UInt8[Array, "r _n"]:
    """How often each sample's patient was drawn, of as many draws with replacement as there are
    patients.
    """
    if config.resample == "none":
        return jnp.ones((len(rates.seed), 1), jnp.uint8)
    n = len(data.patients)
    n_patients = data.patients.max() + 1

    def draw(seed):
        drawn = jax.random.randint(stream(key, "bootstrap", seed), (n,), 0, n_patients)
        return jnp.zeros(n, jnp.uint8).at[drawn].add(jnp.arange(n) < n_patients)[data.patients]

    return jax.lax.map(draw, rates.seed)


def active(config: ProbeConfig, state: State) -> Bool[Array, " r"]:
    """Which runs (r,) have not lost patience."""
    return state.stale < config.patience if config.patience else jnp.ones_like(state.stale, bool)


def order(
    key: Key[Array, ""], config: ProbeConfig, rates: Rates, n: int, number: Int[Array, ""]
) -> tuple[Int[Array, "s *r b"], Float[Array, "s b"]]:
    """Rows of each step, shared (s, b) or per run (s, r, b), and which of them are real: the last
    batch is padded.
    """
    steps = -(-n // config.batch_size)
    if config.order == "shared":
        rows = permutation(stream(key, "order", number), n)
    else:
        rows = jax.vmap(lambda seed: permutation(stream(key, "order", number, seed), n))(rates.seed)
    padding = steps * config.batch_size - n
    rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, padding)])
    rows = jnp.moveaxis(rows.reshape(*rows.shape[:-1], steps, config.batch_size), -2, 0)
    present = (jnp.arange(steps * config.batch_size) < n).astype(jnp.float32)
    return rows, present.reshape(steps, config.batch_size)
