"""What one run's scores contribute to its metrics, laid out by cell."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logits:
    """For the logistic recalibration of each cell.

    Attributes:
      value: (BLOCK, k) log-odds of each entry minus its cell's mean, for label 0 and label 1.
      mean: (C,) mean log-odds.
      start: (2, C) intercept at the mean and slope, fitted with equal weights: where the steps for replicates begin.
    """

    value: tuple[Float[Array, "t k0"], Float[Array, "t k1"]]
    mean: Float[Array, " c"]
    start: Float[Array, "2 c"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layout:
    """What one run's scores contribute; pairs are for label 0 and label 1, entry t of block k is at [t, k].

    Attributes:
      rows: (BLOCK, k) sample index of each entry, each cell in descending order of score; `n_samples` for padding.
      columns: (k, j, BLOCK) the per-sample statistics of `fairjax.metrics.table.SUMS` that the metrics need.
      higher: For each entry of label 1, position among the flattened entries of label 0 of the cell's first negative
        that does not have a higher score: those before it do.
      not_lower: The same, of the first negative that has a lower score.
      own: For each entry of label 1, position of the cell's first positive that has a lower score.
      logits: For the metrics that recalibrate, else None.
      threshold: Decision threshold.
      metrics: The metrics that can be evaluated.
    """

    rows: tuple[Int[Array, "t k0"], Int[Array, "t k1"]]
    columns: tuple[Float[Array, "k0 j t"], Float[Array, "k1 j t"]]
    higher: Int[Array, "t k1"]
    not_lower: Int[Array, "t k1"]
    own: Int[Array, "t k1"]
    logits: Logits | None
    threshold: Float[Array, ""]
    metrics: tuple[str, ...] = field(metadata={"static": True})
