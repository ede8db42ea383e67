"""Heads of many runs, trained by one method, as one program.

Every array of the state has the run as its first axis. In the shared order one step of all linear probes is one
(r, d) × (d, b) matmul forward and one (r, b) × (b, d) backward; learning rates, weight decays, strengths of the method
and the early-stopping mask are vectors over runs, so nothing is compiled twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from fairjax.random import permutation, stream
from fairjax.training import averaging
from fairjax.training.averaging import per_run
from fairjax.training.objectives import Step
from fairjax.training.objectives.base import Sizes
from fairjax.training.objectives.losses import log_loss
from fairjax.training.program import ProbeConfig, ProbeData, Program, Rates, State

ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def init(key: Key[Array, ""], program: Program, data: ProbeData, rates: Rates, errors: UInt8[Array, "r _n"]) -> State:
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
        "objective": jax.vmap(lambda key: objective.parameters(jax.random.fold_in(key, 1), shapes))(keys),
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
    key: Key[Array, ""], program: Program, data: ProbeData, rates: Rates, state: State, number: Int[Array, ""]
) -> State:
    """One pass over the training split and one look at the validation split, for all runs."""
    config, method = program.config, program.method
    n = len(data.y)
    steps = -(-n // config.batch_size)
    rows = _order(key, config, rates, n, steps, number)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, config.warmup_epochs * steps, config.epochs * steps, config.final_lr_fraction
    )
    active = _active(config, state)
    multiples = _multiples(stream(key, "resample", number), program, data, rates, state)

    def step(carry, batch):
        params, optimizer, objective, average, count = carry
        sample = _take(data, multiples, *batch)
        gradient, objective = _gradient(program, data, rates, params, sample, objective)
        direction, optimizer = ADAM.update(gradient, optimizer, params)
        rate = jnp.where(active, rates.learning_rate * schedule(count), 0.0)
        params = jax.tree.map(
            lambda p, u: p - per_run(rate, p) * (u + per_run(rates.weight_decay, p) * p), params, direction
        )
        average = averaging.add_step(method.average, average, params["head"])
        return (params, optimizer, objective, average, count + 1), None

    carry = state.params, state.optimizer, state.objective, state.average, state.step
    (params, optimizer, objective, average, count), _ = jax.lax.scan(step, carry, rows)
    loss = validation_loss(program, data, params["head"])
    better = active & (loss < state.best_loss) if config.keep == "best" else jnp.ones_like(active)
    return State(
        state.counts,
        state.errors,
        params,
        optimizer,
        objective,
        averaging.add_epoch(method.average, average, params["head"], loss, number, config.epochs),
        jax.tree.map(lambda new, old: jnp.where(per_run(better, new), new, old), params["head"], state.best),
        jnp.where(better, loss, state.best_loss),
        jnp.where(better, number, state.best_epoch),
        jnp.where(better, 0, state.stale + active),
        count,
    )


def finish(program: Program, data: ProbeData, state: State) -> dict[str, Any]:
    """The heads to keep, averaged if the method says so, with their validation loss and epoch (r,)."""
    kind = program.method.average
    if not kind:
        return {"head": state.best, "validation_loss": state.best_loss, "best_epoch": state.best_epoch}
    head = averaging.result(kind, state.average, state.params["head"])
    last = jnp.full_like(state.best_epoch, program.config.epochs - 1)
    return {"head": head, "validation_loss": validation_loss(program, data, head), "best_epoch": last}


def validation_loss(program: Program, data: ProbeData, head: dict[str, Array]) -> Float[Array, " r"]:
    """Mean cross-entropy (r,) on the validation split."""
    logits = program.head.logits(head | data.constants, data.x_validation)
    return log_loss(logits, data.y_validation).mean(-1)


def training_errors(program: Program, data: ProbeData, head: dict[str, Array]) -> UInt8[Array, "r n"]:
    """1 where a training sample is on the wrong side of 1/2."""
    logits = program.head.logits(head | data.constants, data.x)
    return ((logits > 0) != (data.y > 0.5)).astype(jnp.uint8)


class _Sample(NamedTuple):
    x: Array
    y: Array
    weights: Array
    membership: Array


def _take(data: ProbeData, multiples: Array | None, index: Array, present: Array) -> _Sample:
    """The samples of a step; with each run's multiples, weights are (r, b)."""
    columns = (data.x, data.y, data.weights, data.membership)
    x, y, weights, membership = (a.at[index].get(mode="promise_in_bounds") for a in columns)
    weights = weights * present
    if multiples is not None:
        weights = weights * jnp.take_along_axis(multiples, jnp.atleast_2d(index), axis=1)
    return _Sample(x, y, weights, membership)


def _gradient(
    program: Program, data: ProbeData, rates: Rates, params: Any, sample: _Sample, state: dict[str, Array]
) -> tuple[Any, dict[str, Array]]:
    """Gradient of every run's loss; sharpness-aware, that at the worst point within the radius, to first order."""
    objective, strength = program.method.objective, rates.strength

    def loss(params):
        outputs, features = program.head.forward(params["head"] | data.constants, sample.x)
        logits = outputs.mean(1)
        seen = Step(
            losses=log_loss(logits, sample.y),
            weights=sample.weights,
            membership=sample.membership,
            y=sample.y,
            logits=logits,
            outputs=outputs,
            features=features,
            x=sample.x,
            parameters=params["objective"],
        )
        value, new = objective.loss(seen, strength, state)
        return jnp.sum(value), new

    gradient, new = jax.grad(loss, has_aux=True)(params)
    if program.method.sharpness:
        radius = strength if objective.strength is None else jnp.full_like(strength, program.config.radius)
        normalize = optax.contrib.normalize().update
        unit = jax.vmap(lambda g: normalize(g, optax.contrib.NormalizeState())[0])(gradient)
        ascended = jax.tree.map(lambda p, u: p + per_run(radius, p) * jnp.where(jnp.isfinite(u), u, 0.0), params, unit)
        gradient, _ = jax.grad(loss, has_aux=True)(ascended)
    return gradient, new


def _multiples(
    key: Key[Array, ""], program: Program, data: ProbeData, rates: Rates, state: State
) -> Float[Array, "r n"] | None:
    """How much each training sample weighs in each run (r, n), this epoch; None where runs do not differ."""
    if not program.weighted:
        return None
    objective = program.method.objective
    multiples = jnp.broadcast_to(state.counts.astype(jnp.float32), (len(rates.seed), len(data.y)))
    if objective.sample_weights is not None:
        multiples = multiples * objective.sample_weights(key, cells_of(objective.cells, data), rates.strength)
    if program.second:
        multiples = multiples * (1 + rates.strength[:, None] * state.errors)
    return multiples


def cells_of(kind: str, data: ProbeData) -> Float[Array, "n c"]:
    """Membership of groups, or of groups × classes."""
    if kind == "group":
        return data.membership
    y = data.y[:, None]
    return jnp.concatenate([data.membership * y, data.membership * (1 - y)], axis=1)


def resampled_counts(key: Key[Array, ""], config: ProbeConfig, data: ProbeData, rates: Rates) -> UInt8[Array, "r _n"]:
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
