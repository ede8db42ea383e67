"""Metrics of every cell as a pure function of per-sample weights: `prepare` once per run, `evaluate` per replicate.

A bootstrap replicate changes weights and never scores, so `prepare` does all that depends on scores (sorting, tie
blocks, thresholding, logarithms) and `evaluate` is left with a gather of the weights, one product weights × statistics
and, for what depends on order, a cumulative sum within cells that is read at the edges of tie blocks.

Both may be jitted, and vmapped over runs: `jax.vmap(prepare, (None, 0, 0))` and `jax.vmap(evaluate, (None, 0, None))`.
Replicates are the *last* axis of the weights, because then a gathered row is contiguous: on a CPU, most of the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fairjax.metrics import ordered, table
from fairjax.metrics.cells import BLOCK, Cells


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layout:
    """What one run's scores contribute; pairs are for label 0 and label 1, entry t of block k is at [t, k].

    Attributes:
      rows: (BLOCK, k) sample index of each entry, each cell in ascending order of score; `n_samples` for padding.
      columns: (k, BLOCK, j) the per-sample statistics of `table.SUMS` that the metrics need.
      below: For each entry of label 1, position among the flattened entries of label 0 of the cell's first negative
        whose score is not lower: all before it are lower.
      upto: The same, of the first negative whose score is higher.
      own: For each entry of label 1, position of the first positive of the cell with the same score.
      threshold: Decision threshold.
      metrics: The metrics that can be evaluated.
    """

    rows: tuple[Int[Array, "t k0"], Int[Array, "t k1"]]
    columns: tuple[Float[Array, "k0 t j"], Float[Array, "k1 t j"]]
    below: Int[Array, "t k1"]
    upto: Int[Array, "t k1"]
    own: Int[Array, "t k1"]
    threshold: Float[Array, ""]
    metrics: tuple[str, ...] = field(metadata={"static": True})


def prepare(
    cells: Cells,
    scores: Float[Array, " n"],
    threshold: Float[Array, ""],
    metrics: Sequence[str] = table.DEFAULT,
) -> Layout:
    """Sorts one run's scores within cells and computes its per-sample statistics.

    Scores are compared in their own precision: under `jax.enable_x64()`, float64 scores are ordered and thresholded as
    such.

    Args:
      cells: From `Cells.build`.
      scores: (n,) probability of the positive class in [0, 1]; for padding samples any finite number.
      threshold: Scalar; the prediction is s ≥ threshold.
      metrics: Names from `table.METRICS`.

    Returns:
      The layout, in float32 and int32.
    """
    rank = _dense_rank(scores)
    (rows_0, keys_0), (rows_1, keys_1) = (_sort_within_cells(cells, rank, label) for label in (0, 1))

    def position(keys: Int[Array, " e"], side: str) -> Int[Array, "t k1"]:
        entry = jnp.searchsorted(keys, keys_1, side=side).astype(jnp.int32)
        n_blocks = keys.size // BLOCK
        return _by_block((entry % BLOCK) * n_blocks + entry // BLOCK)

    def columns(rows: Int[Array, "t k"], label: int) -> Float[Array, "k t j"]:
        score = scores[jnp.minimum(rows, cells.n_samples - 1)].T
        parts = [table.SUMS[name].of(score, label, threshold) for name in table.summed(metrics)]
        return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=-1)

    return Layout(
        rows=(rows_0, rows_1),
        columns=(columns(rows_0, 0), columns(rows_1, 1)),
        below=position(keys_0, "left"),
        upto=position(keys_0, "right"),
        own=position(keys_1, "left"),
        threshold=jnp.asarray(threshold, jnp.float32),
        metrics=tuple(metrics),
    )


def evaluate(cells: Cells, layout: Layout, weights: Float[Array, "n b"]) -> dict[str, Float[Array, "c b"]]:
    """Computes the metrics of every cell under each column of weights.

    Args:
      cells: From `Cells.build`.
      layout: From `prepare` with the same cells.
      weights: (n, B) non-negative; column b is one replicate. Multiplicities, sample weights or their product; float32
        sums of integers are exact below 2²⁴.

    Returns:
      Metric → (C, B), NaN where it is undefined; also `n` and `n_positive`, the weight of each cell and of its
      positives.
    """
    gathered = ordered.take(weights, layout.rows[0]), ordered.take(weights, layout.rows[1])
    sums = jnp.stack(
        [
            ordered.combine_blocks(
                jnp.einsum("ktj,tkb->kjb", columns, entries, precision=ordered.EXACT), cell, cells.n_cells
            )
            for columns, entries, cell in zip(layout.columns, gathered, cells.cell, strict=True)
        ]
    )  # (2, C, j, B)
    by_name = {name: sums[:, :, columns] for name, columns in table.summed(layout.metrics).items()}
    entries = ordered.Entries(cells, layout, gathered, totals=tuple(by_name["weight"][:, :, 0]))
    in_order = {name: table.ORDERED[name](entries) for name in table.in_order(layout.metrics)}
    tallies = table.Tallies(by_name, in_order, layout.threshold)
    values = {name: table.METRICS[name].compute(tallies) for name in layout.metrics}
    return {"n": tallies.total, "n_positive": tallies.positives, **values}


def _by_block(entries: Int[Array, " e"]) -> Int[Array, "t k"]:
    return entries.reshape(-1, BLOCK).T


def _dense_rank(scores: Float[Array, " n"]) -> Int[Array, " n"]:
    """Rank of each score among the distinct scores, from 0."""
    order = jnp.argsort(scores)
    ascending = scores[order]
    is_new = jnp.concatenate([jnp.zeros(1, jnp.int32), (ascending[1:] != ascending[:-1]).astype(jnp.int32)])
    return jnp.zeros(scores.shape, jnp.int32).at[order].set(jnp.cumsum(is_new, dtype=jnp.int32))


def _sort_within_cells(cells: Cells, rank: Int[Array, " n"], label: int) -> tuple[Int[Array, "t k"], Int[Array, " e"]]:
    """Sample index of each entry in order of (cell, score, padding last), and the sorted key, block by block."""
    n, rows = cells.n_samples, jnp.asarray(cells.rows[label])
    ranks = jnp.concatenate([rank, jnp.full(1, n, jnp.int32)])[rows]
    keys = jnp.asarray(cells.cell[label])[:, None] * (n + 1) + ranks
    keys, rows = jax.lax.sort((keys.reshape(-1), rows.reshape(-1)), num_keys=1)
    return _by_block(rows), keys
