"""Metrics of every subgroup as a pure function of per-sample weights: `prepare` once per run,
`evaluate` per replicate.

A bootstrap replicate changes weights and never scores, so `prepare` does all that depends on scores
(sorting, tie blocks, thresholding, logarithms) and `evaluate` is left with a gather of the weights,
one product weights × statistics and, for what depends on order, a cumulative sum within subgroups
that is read at the edges of tie blocks.

Both may be jitted, and vmapped over runs: `jax.vmap(prepare, (None, 0, 0))` and `jax.vmap(evaluate,
(None, 0, None))`. Replicates are the *last* axis of the weights, because then a gathered row is
contiguous: on a CPU, most of the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from fairjax.metrics import sums, table
from fairjax.metrics.entries import Entries, take
from fairjax.metrics.layout import Columns, Layout
from fairjax.metrics.subgroups import BLOCK, Subgroups
from fairjax.metrics.sums import N_BINS, WIDTH_EDGES


def prepare(
    subgroups: Subgroups,
    scores: Float[Array, " n"],
    threshold: Float[Array, ""],
    metrics: Sequence[str] = table.DEFAULT,
    edges: Float[Array, "c e"] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Layout:
    """Sorts one run's scores within subgroups and computes its per-sample statistics.

    Scores are compared in their own precision: under `jax.enable_x64()`, float64 scores are
    ordered, thresholded and binned as such.

    Args:
      subgroups: the subgroups, of `Subgroups.build`.
      scores: (n,) probability of the positive class in [0, 1], or whatever the metrics are of; for
        padding samples any finite number.
      threshold: scalar; the prediction is s ≥ threshold.
      metrics: names from `table.METRICS`.
      edges: (C, 9) lower edges of all bins but the first, for the calibration error of each
        subgroup; None: equal widths on [0, 1].
      dtype: dtype of the statistics, and so of the values that `evaluate` gives.

    Returns:
      The layout.
    """
    rank = _dense_rank(-scores)
    (rows_0, keys_0), (rows_1, keys_1) = (
        _sort_within_subgroups(subgroups, rank, label) for label in (0, 1)
    )
    edges = jnp.broadcast_to(
        WIDTH_EDGES.astype(scores.dtype) if edges is None else edges,
        (subgroups.n_subgroups, N_BINS - 1),
    )
    derived = {name: table.DERIVED[name].prepare for name in table.derived(metrics)}

    def position(keys: Int[Array, " e"], side: str) -> Int[Array, "t k1"]:
        entry = _count(keys, keys_1, side)
        n_blocks = keys.size // BLOCK
        return _by_block((entry % BLOCK) * n_blocks + entry // BLOCK)

    def mass_bin(keys: Int[Array, " e"], n_bins: int) -> Int[Array, "k t"]:
        subgroup = keys // (subgroups.n_samples + 1)
        # The key of the highest possible score.
        first = jnp.arange(subgroups.n_subgroups, dtype=jnp.int32) * (subgroups.n_samples + 1)
        before = _count(keys_0, first) + _count(keys_1, first)
        size = (
            _count(keys_0, first + subgroups.n_samples)
            + _count(keys_1, first + subgroups.n_samples)
            - before
        )
        higher = _count(keys_0, keys) + _count(keys_1, keys) - before[subgroup]
        return (higher * n_bins // jnp.maximum(size, 1)[subgroup]).reshape(-1, BLOCK)

    def columns(rows: Int[Array, "t k"], keys: Int[Array, " e"], label: int) -> Columns:
        subgroup, exact = (
            subgroups.subgroup[label],
            scores.astype(jnp.promote_types(scores.dtype, dtype)),
        )
        score = exact[jnp.minimum(rows, subgroups.n_samples - 1)].T
        sample = sums.Sample(score, label, score >= threshold)
        return sums.columns(
            sample,
            table.summed(metrics),
            edges[subgroup][..., None],
            partial(mass_bin, keys),
            dtype,
        )

    return Layout(
        rows=(rows_0, rows_1),
        columns=(columns(rows_0, keys_0, 0), columns(rows_1, keys_1, 1)),
        higher=position(keys_0, "left"),
        not_lower=position(keys_0, "right"),
        own=position(keys_1, "right"),
        prepared={
            name: of(subgroups, (rows_0, rows_1), scores, dtype)
            for name, of in derived.items()
            if of
        },
        threshold=jnp.asarray(threshold, dtype),
        metrics=tuple(metrics),
    )


def evaluate(
    subgroups: Subgroups, layout: Layout, weights: Float[Array, "n b"]
) -> dict[str, Float[Array, "c b"]]:
    """Computes the metrics of every subgroup under each column of weights.

    Args:
      subgroups: the subgroups, of `Subgroups.build`.
      layout: the run's layout, of `prepare` with the same subgroups.
      weights: (n, B) non-negative, of the dtype of the layout; column b is one replicate.
        Multiplicities, sample weights or their product; float32 sums of integers are exact below
        2²⁴.

    Returns:
      Metric → (C, B), NaN where it is undefined; also `n` and `n_positive`, the weight of each
      subgroup and of its positives.
    """
    entries = Entries(
        subgroups, layout, (take(weights, layout.rows[0]), take(weights, layout.rows[1]))
    )
    names = table.summed(layout.metrics)
    summed = sums.weighted_sums(subgroups, layout, names, entries.weights)
    by_name = {name: summed[:, :, at] for name, at in sums.slices(names).items()}
    derived = {name: table.DERIVED[name].compute(entries) for name in table.derived(layout.metrics)}
    tallies = table.Tallies(by_name, derived, layout.threshold)
    values = {name: table.METRICS[name].compute(tallies) for name in layout.metrics}
    return {"n": tallies.total, "n_positive": tallies.positives, **values}


def _by_block(entries: Int[Array, " e"]) -> Int[Array, "t k"]:
    return entries.reshape(-1, BLOCK).T


def _count(
    ascending: Int[Array, " e"], keys: Int[Array, " m"], side: str = "left"
) -> Int[Array, " m"]:
    """How many of `ascending` are below (`left`) or not above (`right`) each key."""
    return jnp.searchsorted(ascending, keys, side=side).astype(jnp.int32)


def _dense_rank(values: Float[Array, " n"]) -> Int[Array, " n"]:
    """Rank of each value among the distinct values, from 0."""
    order = jnp.argsort(values)
    ascending = values[order]
    is_new = jnp.concatenate(
        [jnp.zeros(1, jnp.int32), (ascending[1:] != ascending[:-1]).astype(jnp.int32)]
    )
    return jnp.zeros(values.shape, jnp.int32).at[order].set(jnp.cumsum(is_new, dtype=jnp.int32))


def _sort_within_subgroups(
    subgroups: Subgroups, rank: Int[Array, " n"], label: int
) -> tuple[Int[Array, "t k"], Int[Array, " e"]]:
    """Sample index of each entry by (subgroup, score, padding last), and the sorted keys."""
    n, rows = subgroups.n_samples, jnp.asarray(subgroups.rows[label])
    ranks = jnp.concatenate([rank, jnp.full(1, n, jnp.int32)])[rows]
    keys = jnp.asarray(subgroups.subgroup[label])[:, None] * (n + 1) + ranks
    keys, rows = jax.lax.sort((keys.reshape(-1), rows.reshape(-1)), num_keys=1)
    return _by_block(rows), keys
