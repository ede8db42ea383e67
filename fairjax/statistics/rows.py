"""Which rows a result has (groups, disparities, differences of every attribute), and each one's number and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fairjax.errors import UserError
from fairjax.metrics.disparity import DISPARITIES
from fairjax.metrics.table import METRICS
from fairjax.statistics import intervals

OK = "ok"
MAX_PAIRED_GROUPS = 6  # of more groups, each is compared with the attribute's overall value instead of with every other
Attribute = tuple[Int[np.ndarray, " n"], Sequence[str]]  # code of each sample, -1 where missing, and the groups' names


class Row(NamedTuple):
    """A row of the result, for every metric and run.

    Attributes:
      attribute: Name, or `all`.
      group: `overall`, a group's name, a name in `DISPARITIES`, or `a − b`.
      kind: `cell`, `difference`, or a name in `DISPARITIES`.
      cells: The cells it is made of; none where it has no number.
      n: Samples.
      n_positive: Samples with label 1.
      status: `ok`, or why there is no number, or who was left out.
    """

    attribute: str
    group: str
    kind: str
    cells: tuple[int, ...]
    n: int
    n_positive: int
    status: str


class Estimates(NamedTuple):
    """Numbers of every metric (M), row (K) and run (R); NaN where there is none."""

    value: Float[np.ndarray, "m k r"]
    low: Float[np.ndarray, "m k r"]
    high: Float[np.ndarray, "m k r"]
    n_invalid: Int[np.ndarray, "m k r"]


@dataclass
class RowPlan:
    """The rows in the order of the result, and the members of the cells they are made of."""

    rows: list[Row] = field(default_factory=list)
    members: list[np.ndarray] = field(default_factory=list)
    _index: dict[bytes, int] = field(default_factory=dict)  # cells with the same members are one

    @classmethod
    def build(
        cls,
        labels: Int[np.ndarray, " n"],
        attributes: Mapping[str, Attribute],
        clusters: Int[np.ndarray, " n"],
        min_group: int,
    ) -> RowPlan:
        """Plans `all`, and of each attribute overall, groups, disparities and pairwise differences.

        A group with fewer than `min_group` clusters of either class, or none of one, has counts and a reason but no
        number, and is left out of disparities and differences. Of more than `MAX_PAIRED_GROUPS` groups each is compared
        with the attribute's overall value, which does not depend on the outcome as a best group would.
        """
        plan = cls()
        plan._add("all", "overall", np.ones(labels.shape, bool), labels)
        for attribute, (codes, names) in attributes.items():
            for name in set(names) & {"overall", *DISPARITIES}:
                raise UserError(
                    f"attribute {attribute!r}: {name!r} is the name of a row in the results; rename that group"
                )
            overall = plan._add(attribute, "overall", codes >= 0, labels)
            groups = []
            for code, name in enumerate(names):
                member = codes == code
                groups.append(plan._add(attribute, name, member, labels, _reason(member, labels, clusters, min_group)))
            plan._contrast(attribute, overall, groups)
        return plan

    def _add(self, attribute: str, group: str, member: np.ndarray, labels: np.ndarray, reason: str = OK) -> Row:
        cells: tuple[int, ...] = ()
        reason = reason if member.any() else "no samples"
        if reason == OK:
            key = np.packbits(member).tobytes()
            if key not in self._index:
                self._index[key] = len(self.members)
                self.members.append(member)
            cells = (self._index[key],)
        row = Row(attribute, group, "cell", cells, int(member.sum()), int(labels[member].sum()), reason)
        self.rows.append(row)
        return row

    def _contrast(self, attribute: str, overall: Row, groups: list[Row]) -> None:
        usable = [row for row in groups if row.cells]
        left_out = [row.group for row in groups if not row.cells]
        status = f"without {', '.join(left_out)}" if left_out else OK
        if len(usable) < 2:
            status = "fewer than 2 groups" + (f" {status}" if left_out else "")
        pairs = [(row, overall) for row in usable] if len(usable) > MAX_PAIRED_GROUPS else list(combinations(usable, 2))

        def add(name: str, kind: str, of: Sequence[Row], status: str) -> None:
            cells = tuple(cell for row in of for cell in row.cells) if len(of) > 1 else ()
            n, n_positive = sum(row.n for row in of), sum(row.n_positive for row in of)
            self.rows.append(Row(attribute, name, kind, cells, n, n_positive, status))

        for name in DISPARITIES:
            add(name, name, usable, status)
        for a, b in pairs:
            add(f"{a.group} − {b.group}", "difference", (a, b), OK)

    def estimate(
        self,
        metrics: Sequence[str],
        point: Float[np.ndarray, "m c r"],
        replicates: Float[np.ndarray, "m c r b"],
        confidence: float,
    ) -> Estimates:
        """Computes every row from the cells' values and their replicates."""
        empty = np.full((len(metrics), len(self.rows), point.shape[-1]), np.nan)
        result = Estimates(empty, empty.copy(), empty.copy(), np.zeros(empty.shape, np.int64))
        biased = [m for m, metric in enumerate(metrics) if METRICS[metric].resampling_biased]
        if biased:
            replicates = replicates.copy()
            replicates[biased] += (point[biased] - intervals.mean(replicates[biased]))[..., None]

        at, (cells,) = self._of_kind("cell", 1)
        low, high = intervals.percentile(replicates, confidence)
        least, most = np.array([METRICS[metric].bounds for metric in metrics]).T[..., None, None]
        low, high = np.clip(low, least, most), np.clip(high, least, most)
        _fill(result, at, point[:, cells], low[:, cells], high[:, cells], intervals.invalid(replicates)[:, cells])

        at, (a, b) = self._of_kind("difference", 2)
        difference = replicates[:, a] - replicates[:, b]
        interval = intervals.percentile(difference, confidence)
        _fill(result, at, point[:, a] - point[:, b], *interval, intervals.invalid(difference))

        for k, row in enumerate(self.rows):
            if row.kind in DISPARITIES and row.cells:
                for m, metric in enumerate(metrics):
                    groups = point[m, list(row.cells)], replicates[m, list(row.cells)]
                    estimate = _disparity(row.kind, metric, *groups, confidence)
                    _fill(result, (m, k), *estimate)
        return result

    @staticmethod
    def applies(row: Row, metric: str) -> bool:
        """Whether a metric has this row: none is the worst group where neither end of the metric is better."""
        needs_direction = row.kind in DISPARITIES and DISPARITIES[row.kind].needs_direction
        return not needs_direction or METRICS[metric].higher_is_better is not None

    def _of_kind(self, kind: str, n_cells: int) -> tuple[tuple[slice, list[int]], list[list[int]]]:
        rows = [(k, row.cells) for k, row in enumerate(self.rows) if row.kind == kind and row.cells]
        return (slice(None), [k for k, _ in rows]), [[cells[i] for _, cells in rows] for i in range(n_cells)]


def _fill(result: Estimates, at: tuple, *columns: np.ndarray) -> None:
    for whole, part in zip(result, columns, strict=True):
        whole[at] = part


def _disparity(name: str, metric: str, groups: np.ndarray, replicates: np.ndarray, confidence: float) -> tuple:
    """Value, ends of the interval and number of undefined replicates; `groups` (G, R), `replicates` (G, R, B)."""
    disparity, higher_is_better = DISPARITIES[name], METRICS[metric].higher_is_better
    value = plain = disparity.value(groups, higher_is_better)
    in_replicates = disparity.value(replicates, higher_is_better)
    if disparity.bias_corrected:
        value = np.maximum(2 * plain - intervals.mean(in_replicates), 0)
    low, high = intervals.INTERVALS[disparity.interval](plain, groups, replicates, confidence)
    least, most = disparity.bounds(METRICS[metric].bounds)
    return value, np.maximum(low, least), np.minimum(high, most), intervals.invalid(in_replicates)


def _reason(member: np.ndarray, labels: np.ndarray, clusters: np.ndarray, min_group: int) -> str:
    """`ok`, or why a group that has samples has no number."""
    counts = [np.unique(clusters[member & (labels == label)]).size for label in (0, 1)]
    for count, name in zip(counts, ("negatives", "positives"), strict=True):
        if count == 0:
            return f"no {name}"
    for count, name in zip(counts, ("negative", "positive"), strict=True):
        if count < min_group:
            return f"{count} {name} patient{'s' * (count > 1)}, fewer than {min_group}"
    return OK
