"""What one run's scores contribute to its metrics, laid out by subgroup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
from jaxtyping import Array, Bool, Float, Int, UInt8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Columns:
    """The per-sample statistics of `fairjax.metrics.sums.SUMS` of the entries of one label, or what
    makes them.

    Attributes:
      values: (k, j, BLOCK) all statistics; None if they are computed while they are summed.
      score: (k, BLOCK) score of each entry, for that; else None.
      above: (k, BLOCK) whether it reaches the threshold, in the precision of the scores; else None.
      bins: name → (k, BLOCK) bin of each entry; else nothing.
    """

    values: Float[Array, "*r k j t"] | None
    score: Float[Array, "*r k t"] | None
    above: Bool[Array, "*r k t"] | None
    bins: dict[str, UInt8[Array, "*r k t"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layout:
    """What one run's scores contribute; pairs are for label 0 and label 1, entry t of block k is at
    [t, k].

    Attributes:
      rows: (BLOCK, k) sample index of each entry, each subgroup in descending order of score;
        `n_samples` for padding.
      columns: the per-sample statistics that the metrics need.
      higher: for each entry of label 1, position among the flattened entries of label 0 of the
        subgroup's first negative that does not have a higher score: those before it do.
      not_lower: the same, of the first negative that has a lower score.
      own: for each entry of label 1, position of the subgroup's first positive with a lower score.
      prepared: what the statistics of `fairjax.metrics.table.DERIVED` prepared, by name.
      threshold: decision threshold.
      metrics: the metrics that can be evaluated.
    """

    rows: tuple[Int[Array, "*r t k0"], Int[Array, "*r t k1"]]
    columns: tuple[Columns, Columns]
    higher: Int[Array, "*r t k1"]
    not_lower: Int[Array, "*r t k1"]
    own: Int[Array, "*r t k1"]
    prepared: dict[str, Any]
    threshold: Float[Array, "*r"]
    metrics: tuple[str, ...] = field(metadata={"static": True})
