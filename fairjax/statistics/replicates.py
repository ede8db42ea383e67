"""Values of every subgroup in every replicate, chunk by chunk, on all local devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from fairjax.metrics.evaluate import evaluate, prepare
from fairjax.metrics.layout import Layout
from fairjax.metrics.subgroups import Subgroups
from fairjax.statistics.schemes import Scheme

# Bytes of temporaries, and replicates at once: a CPU is fastest when a step fits its cache, an
# accelerator when full.
_BUDGETS = {"cpu": (2**25, 64)}
_ACCELERATOR_BUDGET = (2**30, 1024)
_MIN_REPLICATES = 4  # at once, whatever the budget: with fewer, gathered rows are too short
_VECTOR = 16  # replicates that a CPU's vector unit takes at once
_NUMBERS_PER_REPLICATE = 8  # per entry of the layout, alive at once in a step
# Of each device; few, so that any number of draws is the same program, called again.
_STEPS_PER_CALL = 8
_NUMBERS_PER_RUN = 32  # per entry: the layout and its statistics


class Chunks(NamedTuple):
    """How many runs and replicates are evaluated at once."""

    runs: int
    replicates: int


def plan_chunks(
    n_entries: int, n_runs: int, n_boot: int, memory_bytes: int | None = None
) -> Chunks:
    """Cuts the work such that the temporaries of one step fit `memory_bytes` (None: by the kind of
    device).
    """
    default_bytes, max_replicates = _BUDGETS.get(jax.default_backend(), _ACCELERATOR_BUDGET)
    numbers = (memory_bytes or default_bytes) // (4 * n_entries)
    replicates = min(max(numbers // _NUMBERS_PER_REPLICATE, _MIN_REPLICATES), max_replicates)
    replicates = min(replicates, max(n_boot, 1))
    replicates -= replicates % _VECTOR if replicates > _VECTOR else 0
    runs = max(numbers // (_NUMBERS_PER_REPLICATE * replicates + _NUMBERS_PER_RUN), 1)
    n_chunks = -(-n_runs // runs)
    return Chunks(-(-n_runs // n_chunks), replicates)


class Draws(NamedTuple):
    """So many columns of weights of a scheme, numbered from 0."""

    scheme: Scheme
    columns: int


def sample_values(
    subgroups: Subgroups,
    scores: Float[np.ndarray, "r n"],
    thresholds: Float[np.ndarray, " r"],
    weights: Float[np.ndarray, " n"],
    metrics: tuple[str, ...],
    edges: Float[np.ndarray, "r c e"] | None = None,
) -> Float[np.ndarray, "m c r"]:
    """Evaluates metrics (M) of subgroups (C) on the sample itself, in float64, run by run."""
    with jax.enable_x64(True):
        arguments = subgroups, scores, thresholds, edges, jnp.asarray(weights, jnp.float64)
        return np.moveaxis(np.array(_evaluate_sample(*arguments, metrics)), 0, -1)


def replicate_values(
    subgroups: Subgroups,
    scores: Float[np.ndarray, "r n"],
    thresholds: Float[np.ndarray, " r"],
    draws: Sequence[Draws],
    *,
    weights: Float[np.ndarray, " n"],
    metrics: tuple[str, ...],
    seed: int,
    chunks: Chunks,
    edges: Float[np.ndarray, "r c e"] | None = None,
    advance: Callable[[int], object] | None = None,
) -> Iterator[list[Float[np.ndarray, "m c r b"]]]:
    """Evaluates metrics (M) of subgroups (C) with the weights of every draw, runs chunk by chunk.

    Args:
      subgroups: the subgroups, of `Subgroups.build`.
      scores: (R, n), finite; float64 is compared as such.
      thresholds: (R,).
      draws: schemes, and how often each is drawn.
      weights: (n,) sample weights.
      metrics: names.
      seed: seed of the draws.
      chunks: sizes of chunks, of `plan_chunks`; changes speed and memory, never a result.
      edges: (R, C, 9) of the bins of a calibration error; None: equal widths on [0, 1].
      advance: called with the number of columns × runs that were finished since the last call.

    Yields:
      For each chunk of runs, the values of every scheme.
    """
    mesh = Mesh(np.array(jax.local_devices()), ("replicates",))
    compute = _evaluate_steps(mesh)

    def calls(columns: int) -> np.ndarray:
        needed = -(-columns // (chunks.replicates * mesh.size))
        per_call = min(1 << (needed - 1).bit_length(), _STEPS_PER_CALL)
        shape = -(-needed // per_call), per_call * mesh.size, chunks.replicates
        return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)

    def dispatch(start: int) -> tuple[int, list[list[Array]]]:
        # The last run fills up the last chunk: one shape, one compilation.
        runs = np.arange(start, start + chunks.runs).clip(max=len(scores) - 1)
        with jax.enable_x64(scores.dtype == np.float64):
            of_runs = scores[runs], thresholds[runs], None if edges is None else edges[runs]
            layouts = _prepare(subgroups, *of_runs, metrics)
        values = [
            [
                compute(subgroups, layouts, drawn.scheme, weights, seed, numbers)
                for numbers in calls(drawn.columns)
            ]
            for drawn in draws
        ]
        return min(chunks.runs, len(scores) - start), values

    def fetch(n_runs: int, values: list[list[Array]]) -> list[np.ndarray]:
        result = []
        for drawn, of_calls in zip(draws, values, strict=True):
            done, fetched = 0, []
            for of_call in of_calls:
                fetched.append(np.asarray(of_call)[:, :, :n_runs])
                before, done = done, min(drawn.columns, done + of_call.shape[0] * chunks.replicates)
                if advance:
                    advance((done - before) * n_runs)
            steps = np.concatenate(fetched)
            host = np.moveaxis(steps, 0, -2)  # (M, R, C, steps, B)
            host = host.reshape(*host.shape[:3], -1).swapaxes(1, 2)
            result.append(host[..., : drawn.columns].copy())
        return result

    pending = None  # the host works on one chunk while the device computes the next
    for start in range(0, len(scores), chunks.runs):
        following = dispatch(start)
        if pending:
            yield fetch(*pending)
        pending = following
    if pending:
        yield fetch(*pending)


@partial(jax.jit, static_argnames="metrics")
def _evaluate_sample(
    subgroups: Subgroups,
    scores: Array,
    thresholds: Array,
    edges: Array | None,
    weights: Array,
    metrics: tuple[str, ...],
) -> Float[Array, "r m c"]:
    def of_run(run: tuple[Array, Array, Array | None]) -> Float[Array, "m c"]:
        score, threshold, edge = run
        values = evaluate(
            subgroups,
            prepare(subgroups, score, threshold, metrics, edge, jnp.float64),
            weights[:, None],
        )
        return jnp.stack([values[name][:, 0] for name in metrics])

    return jax.lax.map(of_run, (scores, thresholds, edges))


@partial(jax.jit, static_argnames="metrics")
def _prepare(
    subgroups: Subgroups,
    scores: Array,
    thresholds: Array,
    edges: Array | None,
    metrics: tuple[str, ...],
) -> Layout:
    axes = (None, 0, 0, None, None if edges is None else 0)
    return jax.vmap(prepare, axes)(subgroups, scores, thresholds, metrics, edges)


@cache
def _evaluate_steps(mesh: Mesh) -> Callable[..., Array]:
    """Compiles steps of draws, shared out over `mesh`: `(subgroups, layouts, scheme, weights, seed,
    numbers)`.
    """

    def step(
        subgroups: Subgroups,
        layouts: Layout,
        scheme: Any,
        weights: Array,
        seed: Any,
        numbers: Int[Array, " d"],
    ) -> Float[Array, "m r c b"]:
        drawn = scheme.weights(seed, numbers) * weights[:, None]
        values = jax.vmap(evaluate, (None, 0, None))(subgroups, layouts, drawn)
        return jnp.stack([values[name] for name in layouts.metrics])

    def steps(*arguments: Any) -> Array:
        *constant, numbers = arguments
        return jax.lax.map(partial(step, *constant), numbers)

    everywhere, shared = PartitionSpec(), PartitionSpec("replicates")
    # Devices exchange nothing, so there is nothing to check; the check would have every loop inside
    # mark its carry.
    sharded = jax.shard_map(
        steps, mesh=mesh, in_specs=(*[everywhere] * 5, shared), out_specs=shared, check_vma=False
    )
    return jax.jit(sharded)
