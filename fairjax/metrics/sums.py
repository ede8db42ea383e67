"""Per-sample statistics of which metrics need no more than a weighted sum: all are one product with
the weights.

A statistic is summed over the samples of a subgroup, apart for either label, and either as it is or
within bins. Of many samples the statistics are computed only while they are summed, a piece at a
time, because they would take memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fairjax.metrics.entries import EXACT, Take, sum_in_pieces
from fairjax.metrics.layout import Columns, Layout
from fairjax.metrics.subgroups import PIECE, Subgroups

N_BINS = 10
WIDTH_EDGES = (
    np.arange(1, N_BINS) / N_BINS
)  # of bins of equal width on [0, 1]; a bin holds its lower edge
LOG_CLAMP = -100.0  # as torch.nn.BCELoss: a score of exactly 0 or 1 costs at most 100


class Sample(NamedTuple):
    """What a per-sample statistic may use.

    Attributes:
      score: (k, t) scores of samples of one label.
      label: that label, the Python integer 0 or 1.
      above: (k, t) whether the score reaches the decision threshold.
    """

    score: Array
    label: int
    above: Array


class Sum(NamedTuple):
    """A row of `SUMS`.

    Attributes:
      values: `(sample) -> [(k, t), …]`, the numbers that are summed.
      numbers: how many they are.
      bins: whether they are summed within bins of scores, of equal `width` or of equal `mass`.
    """

    values: Callable[[Sample], list[Array]]
    numbers: int = 1
    bins: str | None = None

    @property
    def width(self) -> int:
        """Sums per subgroup."""
        return self.numbers * (N_BINS if self.bins else 1)


MassBin = Callable[[int], Array]


def _log_loss(sample: Sample) -> Array:
    return -jnp.maximum(
        jnp.log(sample.score) if sample.label else jnp.log1p(-sample.score), LOG_CLAMP
    )


SUMS: dict[str, Sum] = {
    "weight": Sum(lambda sample: [jnp.ones_like(sample.score)]),
    "value": Sum(lambda sample: [sample.score]),
    "above": Sum(lambda sample: [sample.above]),
    "log_loss": Sum(lambda sample: [_log_loss(sample)]),
    "squared_error": Sum(lambda sample: [(sample.score - sample.label) ** 2]),
    "residual_by_bin": Sum(lambda sample: [sample.score - sample.label], bins="width"),
    "weight_and_score_by_mass": Sum(
        lambda sample: [jnp.ones_like(sample.score), sample.score], 2, "mass"
    ),
}


def slices(names: Iterable[str]) -> dict[str, slice]:
    """Where the sums of each statistic are, by its name."""
    names = list(names)
    ends = np.cumsum([SUMS[name].width for name in names]).tolist()
    return {name: slice(end - SUMS[name].width, end) for name, end in zip(names, ends, strict=True)}


def columns(
    sample: Sample, names: Iterable[str], edges: Array, mass_bin: MassBin, dtype: DTypeLike
) -> Columns:
    """The statistics of the entries of one label: computed, or if they are many, what they are
    computed from.

    Args:
      sample: the entries.
      names: names of rows of `SUMS`.
      edges: (k, N_BINS − 1, 1) lower edges of all bins of scores but the first.
      mass_bin: given the number of bins, the index of the bin of equal mass in which each score is
        among its subgroup's.
      dtype: dtype of the statistics.
    """
    kinds = {SUMS[name].bins: name for name in names}
    bins = {}
    if "width" in kinds:
        bins["width"] = (sample.score[:, None] >= edges).sum(1).astype(jnp.uint8)
    if "mass" in kinds:
        bins["mass"] = mass_bin(N_BINS).astype(jnp.uint8)
    sample = sample._replace(score=sample.score.astype(dtype))
    if len(sample.score) > PIECE:
        return Columns(None, sample.score, sample.above, bins)
    return Columns(_computed(sample, bins, names), None, None, {})


def _computed(
    sample: Sample, bins: dict[str, Array], names: Iterable[str]
) -> Float[Array, "k j t"]:
    """All statistics as columns: those in bins times the indicator of every bin."""
    parts = []
    for name in slices(names):
        row = SUMS[name]
        values = jnp.stack(row.values(sample), axis=1).astype(sample.score.dtype)
        if row.bins:
            indicator = bins[row.bins][:, None] == jnp.arange(N_BINS, dtype=jnp.uint8)[:, None]
            binned = values[:, :, None] * indicator[:, None]  # (k, v, bins, t)
            values = binned.reshape(len(binned), -1, binned.shape[-1])
        parts.append(values)
    return jnp.concatenate(parts, axis=1)


def weighted_sums(
    subgroups: Subgroups,
    layout: Layout,
    names: Iterable[str],
    weights: tuple[Float[Array, "t k0 b"], Float[Array, "t k1 b"]],
) -> Float[Array, "2 c j b"]:
    """Sums all statistics over the entries of each subgroup, weighted, apart for either label."""

    def of_label(label: int) -> Float[Array, "c j b"]:
        def blocks(take: Take) -> Float[Array, "p j b"]:
            piece = jax.tree.map(lambda array: take(array, 0), layout.columns[label])
            values = piece.values
            if values is None:
                values = _computed(Sample(piece.score, label, piece.above), piece.bins, names)
            return jnp.einsum("kjt,tkb->kjb", values, take(weights[label], 1), precision=EXACT)

        return sum_in_pieces(blocks, subgroups.subgroup[label], subgroups.n_subgroups)

    return jnp.stack([of_label(0), of_label(1)])
