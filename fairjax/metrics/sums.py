"""Per-sample statistics of which metrics need no more than a weighted sum: all are one product with the weights.

A statistic is summed over the samples of a cell, apart for either label, and either as it is or within bins. Bins are
kept as numbers and become indicators only while they are summed, because indicators of a million samples take memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fairjax.metrics.cells import PIECE, Cells
from fairjax.metrics.entries import EXACT, sum_in_pieces
from fairjax.metrics.layout import Columns, Layout

N_BINS = 10
WIDTH_EDGES = np.arange(1, N_BINS) / N_BINS  # of bins of equal width on [0, 1]; a bin holds its lower edge
LOG_CLAMP = -100.0  # as torch.nn.BCELoss: a score of exactly 0 or 1 costs at most 100


class Sample(NamedTuple):
    """What a per-sample statistic may use.

    Attributes:
      score: (k, t) scores of samples of one label.
      label: That label, the Python integer 0 or 1.
      threshold: Decision threshold.
      edges: (k, N_BINS − 1, 1) lower edges of all bins of scores but the first.
      mass_bin: Given the number of bins, the index of the bin of equal mass in which each score is among its cell's.
    """

    score: Array
    label: int
    threshold: Array
    edges: Array
    mass_bin: Callable[[int], Array]


class Sum(NamedTuple):
    """A row of `SUMS`.

    Attributes:
      values: `(sample) -> [(k, t), …]`, the numbers that are summed.
      numbers: How many they are.
      bins: `(sample) -> (k, t)`, the bin of each sample, if they are summed within bins.
    """

    values: Callable[[Sample], list[Array]]
    numbers: int = 1
    bins: Callable[[Sample], Array] | None = None

    @property
    def width(self) -> int:
        """Sums per cell."""
        return self.numbers * (N_BINS if self.bins else 1)


def _log_loss(sample: Sample) -> Array:
    return -jnp.maximum(jnp.log(sample.score) if sample.label else jnp.log1p(-sample.score), LOG_CLAMP)


def _width_bin(sample: Sample) -> Array:
    return (sample.score[:, None] >= sample.edges).sum(1)


SUMS: dict[str, Sum] = {
    "weight": Sum(lambda sample: [jnp.ones_like(sample.score)]),
    "value": Sum(lambda sample: [sample.score]),
    "above": Sum(lambda sample: [sample.score >= sample.threshold]),
    "log_loss": Sum(lambda sample: [_log_loss(sample)]),
    "squared_error": Sum(lambda sample: [(sample.score - sample.label) ** 2]),
    "residual_by_bin": Sum(lambda sample: [sample.score - sample.label], bins=_width_bin),
    "weight_and_score_by_mass": Sum(
        lambda sample: [jnp.ones_like(sample.score), sample.score], 2, lambda sample: sample.mass_bin(N_BINS)
    ),
}


def slices(names: Iterable[str]) -> dict[str, slice]:
    """Where the sums of each statistic stand: plain ones first."""
    names = sorted(names, key=lambda name: SUMS[name].bins is not None)
    ends = np.cumsum([SUMS[name].width for name in names]).tolist()
    return {name: slice(end - SUMS[name].width, end) for name, end in zip(names, ends, strict=True)}


def columns(sample: Sample, names: Iterable[str], dtype: np.dtype) -> Columns:
    """Computes the statistics of the entries of one label; those in bins as indicators, if they are few."""
    values = {name: jnp.stack(SUMS[name].values(sample), axis=1).astype(dtype) for name in slices(names)}
    bins = {name: of(sample).astype(jnp.uint8) for name in values if (of := SUMS[name].bins)}
    plain = jnp.concatenate([value for name, value in values.items() if name not in bins], axis=1)
    binned = Columns(plain, bins, {name: values[name] for name in bins})
    return binned if len(sample.score) > PIECE else Columns(_spread_out(binned), {}, {})


def _spread_out(columns: Columns) -> Float[Array, "k j t"]:
    """All statistics as columns: those in bins times the indicator of every bin."""
    parts = [columns.plain]
    for name in (name for name in SUMS if name in columns.bins):
        indicator = columns.bins[name][:, None] == jnp.arange(N_BINS, dtype=jnp.uint8)[:, None]
        binned = columns.binned[name]  # (k, v, t) → (k, v · bins, t)
        parts.append((binned[:, :, None] * indicator[:, None]).reshape(len(binned), -1, binned.shape[-1]))
    return jnp.concatenate(parts, axis=1)


def weighted_sums(
    cells: Cells, layout: Layout, weights: tuple[Float[Array, "t k0 b"], Float[Array, "t k1 b"]]
) -> Float[Array, "2 c j b"]:
    """Sums all statistics over the entries of each cell, weighted, apart for either label."""

    def of_label(label: int) -> Float[Array, "c j b"]:
        def blocks(take) -> Float[Array, "p j b"]:
            piece = jax.tree.map(lambda array: take(array, 0), layout.columns[label])
            return jnp.einsum("kjt,tkb->kjb", _spread_out(piece), take(weights[label], 1), precision=EXACT)

        return sum_in_pieces(blocks, cells.cell[label], cells.n_cells)

    return jnp.stack([of_label(0), of_label(1)])
