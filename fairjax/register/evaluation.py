"""Registers metrics and post-processors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from fairjax.metrics.sums import SUMS
from fairjax.metrics.table import DERIVED, METRICS, Metric, Tallies
from fairjax.register import table
from fairjax.training.postprocessing.table import POSTPROCESSORS, Postprocessor
from fairjax.utils.errors import UserError, lookup

SUBGROUPS, REPLICATES, RUNS, SAMPLES = 3, 2, 2, 12  # of the trials
LEADING = {
    "recalibration": (2,)
}  # axes of a derived tally before those of subgroups and replicates


def metric(name: str, row: Metric, *, version: str = "") -> None:
    """Registers a metric: `--config.evaluation.metrics=NAME`.

    Args:
      name: the metric's name.
      row: what it is; `row.compute` takes tallies and gives (subgroups, replicates).
      version: changes the identity of evaluations, where it depends on more than its code.

    Raises:
      UserError: the name is taken, a tally is unknown, or it does not give what it must.
    """
    table.require_type("metric", name, row, Metric)
    table.require_free("metric", METRICS, name)
    shape = (SUBGROUPS, REPLICATES)

    def values(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    for tally in row.needs:
        lookup(f"tally of metric {name!r}:", tally, {**SUMS, **DERIVED})
    summed = {"weight", *row.needs} & SUMS.keys()
    sums = {tally: values(2, SUBGROUPS, SUMS[tally].width, REPLICATES) for tally in summed}
    derived = {
        tally: values(*LEADING.get(tally, ()), *shape) for tally in row.needs if tally in DERIVED
    }
    with table.trial(f"metric {name!r}"):
        given = jax.eval_shape(
            lambda *tallies: row.compute(Tallies(*tallies)), sums, derived, values()
        )
    if getattr(given, "shape", None) != shape:
        raise UserError(
            f"metric {name!r} has shape {getattr(given, 'shape', given)}, "
            f"not {shape} (subgroups, replicates)"
        )
    table.add("metric", METRICS, name, row, version=version)


def postprocessor(name: str, row: Postprocessor, *, version: str = "") -> None:
    """Registers a post-processor: `--config.training.postprocess=NAME`.

    Args:
      name: the post-processor's name.
      row: what it is; it is fitted to validation scores and applied to those of both splits.
      version: changes the identity of evaluations, where it depends on more than its code.

    Raises:
      UserError: the name is taken, or `apply` does not give scores in [0, 1].
    """
    table.require_type("postprocessor", name, row, Postprocessor)
    table.require_free("postprocessor", POSTPROCESSORS, name)
    scores = np.linspace(0.05, 0.95, RUNS * SAMPLES, dtype=np.float32).reshape(RUNS, SAMPLES)
    labels, codes = np.arange(SAMPLES) % 2, np.arange(SAMPLES) // 2 % 3 - 1
    with table.trial(f"postprocessor {name!r} on scores {scores.shape}"):
        given = np.asarray(row.apply(row.fit(scores, labels, codes, 2), scores, codes))
    if given.shape != scores.shape or not ((given >= 0) & (given <= 1)).all():
        raise UserError(
            f"postprocessor {name!r} must give {scores.shape} numbers in [0, 1], "
            f"not {given.shape} in [{given.min():g}, {given.max():g}]"
        )
    if row.gives not in ("scores", "decisions"):
        raise UserError(f"postprocessor {name!r} gives 'scores' or 'decisions', not {row.gives!r}")
    table.add("postprocessor", POSTPROCESSORS, name, row, version=version)
