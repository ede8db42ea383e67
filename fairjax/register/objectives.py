"""Registers a training objective: a row of the table of methods."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fairjax.register import table
from fairjax.training.objectives import METHODS
from fairjax.training.objectives.base import Objective, Sizes, Step
from fairjax.utils.errors import UserError

RUNS, SAMPLES, GROUPS, WIDTH = 2, 6, 3, 4  # of the trial


def objective(row: Objective, *, version: str = "") -> None:
    """Registers an objective: `--config.training.methods=NAME`.

    Args:
      row: the objective; `row.loss` takes a step of r runs and gives a loss (r,).
      version: changes the runs' identity, where the loss depends on more than its code.

    Raises:
      UserError: the name is taken, or a function of the row does not give what it must.
    """
    table.require_type("objective", getattr(row, "name", row), row, Objective)
    table.require_free("objective", METHODS, row.name)
    for order in ((), (RUNS,)):  # samples shared by the runs, and each run's own
        _try(row, order)
    table.add("objective", METHODS, row.name, row, version=version)


def _try(row: Objective, order: tuple[int, ...]) -> None:
    """Traces the functions of a row on a step of made-up shapes."""
    what = f"objective {row.name!r}"
    groups = GROUPS if row.grouped else 0
    with table.trial(f"{what}: outputs({groups})"):
        outputs = int(row.outputs(groups))
    sizes = Sizes(groups, outputs, WIDTH)

    def values(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def each_run(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: values(RUNS, *leaf.shape), tree)

    with table.trial(f"{what}: its state or parameters"):
        state = each_run(jax.eval_shape(lambda: row.state(sizes)))
        trained = each_run(jax.eval_shape(lambda: row.parameters(jax.random.key(0), sizes)))
    step = Step(
        losses=values(RUNS, SAMPLES),
        weights=values(*order, SAMPLES),
        membership=values(*order, SAMPLES, groups),
        y=values(*order, SAMPLES),
        logits=values(RUNS, SAMPLES),
        outputs=values(RUNS, outputs, SAMPLES),
        features=values(RUNS, outputs, SAMPLES),
        x=values(*order, SAMPLES, WIDTH),
        parameters=trained,
    )
    with table.trial(f"{what}: its loss"):
        given = jax.eval_shape(row.loss, step, values(RUNS), state)
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{what}: its loss must return (loss, state)")
    if getattr(given[0], "shape", None) != (RUNS,):
        found = getattr(given[0], "shape", given[0])
        raise UserError(f"{what}: the loss of {RUNS} runs has shape {found}, not ({RUNS},)")
    if jax.tree.map(jnp.shape, given[1]) != jax.tree.map(jnp.shape, state):
        raise UserError(f"{what}: its loss must return the state in the shapes that it was given")
    if row.sample_weights is not None:
        with table.trial(f"{what}: its sample_weights"):
            key = jax.eval_shape(lambda: jax.random.key(0))
            weights = jax.eval_shape(row.sample_weights, key, values(SAMPLES, groups), values(RUNS))
        if weights.shape != (RUNS, SAMPLES):
            raise UserError(
                f"{what}: sample_weights has shape {weights.shape}, not (runs, samples)"
            )
