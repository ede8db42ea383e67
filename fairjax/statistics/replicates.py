"""Values of every cell in every replicate, chunk by chunk, on all local devices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from fairjax.metrics.cells import Cells
from fairjax.metrics.evaluate import evaluate, prepare
from fairjax.metrics.layout import Layout
from fairjax.statistics.bootstrap import Resampling, replicate_weights

# Bytes of temporaries, and replicates at once: a CPU is fastest when a step fits its cache, an accelerator when full.
_BUDGETS = {"cpu": (2**25, 64)}
_ACCELERATOR_BUDGET = (2**30, 1024)
_MIN_REPLICATES = 4  # at once, whatever the budget: with fewer, gathered rows are too short
_VECTOR = 16  # replicates that a CPU's vector unit takes at once
_NUMBERS_PER_REPLICATE = 8  # per entry of the layout, alive at once in a step
_NUMBERS_PER_RUN = 32  # per entry: the layout and its statistics


class Chunks(NamedTuple):
    """How many runs and replicates are evaluated at once."""

    runs: int
    replicates: int


def plan_chunks(n_entries: int, n_runs: int, n_boot: int, memory_bytes: int | None = None) -> Chunks:
    """Cuts the work such that the temporaries of one step fit `memory_bytes` (None: by the kind of device)."""
    default_bytes, most = _BUDGETS.get(jax.default_backend(), _ACCELERATOR_BUDGET)
    numbers = (memory_bytes or default_bytes) // (4 * n_entries)
    replicates = min(max(numbers // _NUMBERS_PER_REPLICATE, _MIN_REPLICATES), most, n_boot + 1)
    replicates -= replicates % _VECTOR if replicates > _VECTOR else 0
    runs = max(numbers // (_NUMBERS_PER_REPLICATE * replicates + _NUMBERS_PER_RUN), 1)
    n_chunks = -(-n_runs // runs)
    return Chunks(-(-n_runs // n_chunks), replicates)


def replicate_values(
    cells: Cells,
    scores: Float[np.ndarray, "r n"],
    thresholds: Float[np.ndarray, " r"],
    resampling: Resampling,
    weights: Float[np.ndarray, " n"],
    metrics: tuple[str, ...],
    n_boot: int,
    seed: int,
    chunks: Chunks,
) -> Iterator[tuple[Float[np.ndarray, "m c r"], Float[np.ndarray, "m c r b"]]]:
    """Evaluates metrics (M) of cells (C) on the sample and on its replicates, `chunks.runs` runs at a time.

    Args:
      cells: From `Cells.build`.
      scores: (R, n), finite; float64 is compared as such.
      thresholds: (R,).
      resampling: Who is drawn from whom.
      weights: (n,) sample weights.
      metrics: Names.
      n_boot: Replicates (B), numbered from 0.
      seed: Of the draws.
      chunks: From `plan_chunks`; changes speed and memory, never a result.

    Yields:
      For each chunk of runs, values on the sample and on the replicates.
    """
    mesh = Mesh(np.array(jax.local_devices()), ("replicates",))
    steps = -(-(n_boot + 1) // chunks.replicates)
    steps += -steps % mesh.size
    numbers = np.arange(-1, steps * chunks.replicates - 1, dtype=np.int32).reshape(steps, chunks.replicates)
    compute = _evaluate_steps(mesh)

    def dispatch(start: int) -> tuple[int, Array]:
        # The last run fills up the last chunk: one shape, one compilation.
        runs = np.arange(start, start + chunks.runs).clip(max=len(scores) - 1)
        with jax.enable_x64(scores.dtype == np.float64):
            layouts = _prepare(cells, scores[runs], thresholds[runs], metrics)
        return min(chunks.runs, len(scores) - start), compute(cells, layouts, resampling, weights, seed, numbers)

    def fetch(n_runs: int, values: Array) -> tuple[np.ndarray, np.ndarray]:
        host = np.moveaxis(np.asarray(values), 0, -2)[:, :n_runs]  # (M, R, C, steps, B)
        host = host.reshape(*host.shape[:3], -1).swapaxes(1, 2)
        return host[..., 0].copy(), host[..., 1 : n_boot + 1].copy()

    pending = None  # the host works on one chunk while the device computes the next
    for start in range(0, len(scores), chunks.runs):
        following = dispatch(start)
        if pending:
            yield fetch(*pending)
        pending = following
    if pending:
        yield fetch(*pending)


@partial(jax.jit, static_argnames="metrics")
def _prepare(cells: Cells, scores: Array, thresholds: Array, metrics: tuple[str, ...]) -> Layout:
    return jax.vmap(prepare, (None, 0, 0, None))(cells, scores, thresholds, metrics)


@cache
def _evaluate_steps(mesh: Mesh):
    """Compiles steps of replicates, shared out over `mesh`: `(cells, layouts, resampling, weights, seed, numbers)`."""

    def step(cells, layouts, resampling, weights, seed, numbers: Int[Array, " b"]) -> Float[Array, "m r c b"]:
        drawn = replicate_weights(resampling, seed, numbers)
        drawn = jnp.where(numbers < 0, 1, drawn) * weights[:, None]  # replicate -1 is the sample itself
        values = jax.vmap(evaluate, (None, 0, None))(cells, layouts, drawn)
        return jnp.stack([values[name] for name in layouts.metrics])

    def steps(*arguments):
        *constant, numbers = arguments
        return jax.lax.map(partial(step, *constant), numbers)

    everywhere, shared = PartitionSpec(), PartitionSpec("replicates")
    # Devices exchange nothing, so there is nothing to check; the check would have every loop inside mark its carry.
    sharded = jax.shard_map(steps, mesh=mesh, in_specs=(*[everywhere] * 5, shared), out_specs=shared, check_vma=False)
    return jax.jit(sharded)
