"""The number, the interval and the count of undefined replicates of every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fairjax.metrics.disparity import CRITERIA, DISPARITIES, Criterion, gap
from fairjax.metrics.table import METRICS
from fairjax.statistics import intervals
from fairjax.statistics.intervals import Interval, Sampled
from fairjax.statistics.rows import DIFFERENCE, SUBGROUP, Row, RowPlan, applies

_ROUNDING = 3e-7  # of replicates, which are float32; the sample is evaluated in float64
SHARE = (0.0, 1.0)  # bounds of a metric that is a share
CRITERIA_OF_ROW = "gap"  # a criterion is of the same groups as the attribute's gap


class Estimates(NamedTuple):
    """Numbers of every metric (M), row (K) and run (R); NaN where there is none."""

    value: Float[np.ndarray, "m k r"]
    low: Float[np.ndarray, "m k r"]
    high: Float[np.ndarray, "m k r"]
    n_invalid: Int[np.ndarray, "m k r"]

    @classmethod
    def empty(cls, *shape: int) -> Estimates:
        """Nothing known."""
        value, low, high = (np.full(shape, np.nan) for _ in range(3))
        return cls(value, low, high, np.zeros(shape, np.int64))


class Values(NamedTuple):
    """What subgroups (C) have of each metric (M) and run (R).

    Attributes:
      sample: on the sample.
      bootstrap: the same in each replicate (B).
      jackknife: with each block of patients left out (K); None for percentile intervals.
    """

    sample: Float[np.ndarray, "m c r"]
    bootstrap: Float[np.ndarray, "m c r b"]
    jackknife: Float[np.ndarray, "m c r k"] | None = None

    def centred(self, metrics: Sequence[str]) -> Values:
        """With replicates moved to the value of the sample, for metrics that resampling shifts."""
        biased = [m for m, metric in enumerate(metrics) if METRICS[metric].resampling_biased]
        bootstrap = self.bootstrap.copy() if biased else self.bootstrap
        for m in biased:
            bootstrap[m] = intervals.centre(self.sample[m], bootstrap[m])
        return self._replace(bootstrap=bootstrap)

    def take(self, index: Sequence[int] | np.ndarray, axis: int) -> Values:
        """Those of some metrics (axis 0), subgroups (1) or runs (2)."""
        sample, bootstrap = self.sample.take(index, axis), self.bootstrap.take(index, axis)
        return Values(
            sample, bootstrap, None if self.jackknife is None else self.jackknife.take(index, axis)
        )

    def contrast(
        self, a: Sequence[int] | np.ndarray, b: Sequence[int] | np.ndarray, axis: int
    ) -> Values:
        """Differences a − b of subgroups (axis 1) or runs (2)."""
        a_, b_ = self.take(a, axis), self.take(b, axis)
        jackknife = (
            None if a_.jackknife is None or b_.jackknife is None else a_.jackknife - b_.jackknife
        )
        return Values(a_.sample - b_.sample, a_.bootstrap - b_.bootstrap, jackknife)

    def interval(self, confidence: float | np.ndarray) -> Interval:
        """BCa where there is a jackknife, else percentile; an end that differs by rounding only is
        the value itself.
        """
        if self.jackknife is None:
            ends = intervals.percentile(self.bootstrap, confidence)
        else:
            ends = intervals.bca(self.sample, self.bootstrap, self.jackknife, confidence)
        low, high = (
            np.where(np.isclose(end, self.sample, _ROUNDING, _ROUNDING), self.sample, end)
            for end in ends
        )
        return low, high


def estimate(plan: RowPlan, metrics: Sequence[str], values: Values, confidence: float) -> Estimates:
    """Computes every row of every metric; `values` are centred."""
    result = Estimates.empty(len(metrics), len(plan.rows), values.sample.shape[-1])
    for m, metric in enumerate(metrics):
        of_metric = values.take([m], 0)
        at, rows = _unzip(plan.of_kind(SUBGROUP))
        subgroups = of_metric.take([row.subgroups[0] for row in rows], 1)
        _fill(result, (m, at), *simple(subgroups, confidence, rows, METRICS[metric].bounds))
        at, rows = _unzip(plan.of_kind(DIFFERENCE))
        if at:
            a, b = np.array([row.subgroups for row in rows]).T
            _fill(result, (m, at), *simple(of_metric.contrast(a, b, 1), confidence, rows))
        for k, row in plan.of_kind(*DISPARITIES):
            if applies(row, metric):
                _fill(result, (m, k), *_disparity(row.kind, metric, m, row, values, confidence))
    return result


def criteria(
    plan: RowPlan, metrics: Sequence[str], values: Values, confidence: float
) -> tuple[list[Row], Estimates]:
    """Computes the criteria of fairness of every attribute whose metrics are there.

    Returns:
      For each attribute the row of its gap, which has the groups and the status; and the estimates,
      with the criteria of `criteria_of(metrics)` as the first axis.
    """
    names = criteria_of(metrics)
    rows = [row for row in plan.rows if row.kind == CRITERIA_OF_ROW]
    result = Estimates.empty(len(names), len(rows), values.sample.shape[-1])
    for i, name in enumerate(names):
        for k, row in enumerate(rows):
            if row.subgroups:
                _fill(result, (i, k), *_criterion(CRITERIA[name], metrics, row, values, confidence))
    return rows, result


def criteria_of(metrics: Sequence[str]) -> list[str]:
    """The criteria that can be made of these metrics."""
    return [name for name, row in CRITERIA.items() if set(row.metrics) <= set(metrics)]


def simple(
    values: Values,
    confidence: float,
    rows: Sequence[Row],
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[np.ndarray, ...]:
    """Value, ends of the interval and number of undefined replicates of rows of subgroups or
    differences.

    Args:
      values: values of one metric; its subgroups are the rows, (1, K, R) and (1, K, R, B).
      confidence: level of the intervals.
      rows: (K) rows whose numbers of patients widen the intervals.
      bounds: bounds of the metric; of a fraction that is 0 or 1 in every replicate, the end is the
        exact one.

    Returns:
      Four of (K, R).
    """
    n = np.array([row.n_patients for row in rows])[:, None]
    low, high = (
        np.clip(end, *bounds) for end in values.interval(intervals.expanded(confidence, n))
    )
    if bounds == SHARE:
        certain = (low == high) & (values.sample == low)
        low = np.where(certain & (low == 1), intervals.perfect(confidence, n), low)
        high = np.where(certain & (high == 0), 1 - intervals.perfect(confidence, n), high)
    return values.sample[0], low[0], high[0], intervals.invalid(values.bootstrap)[0]


def _disparity(
    name: str, metric: str, m: int, row: Row, values: Values, confidence: float
) -> tuple[np.ndarray, ...]:
    """As `simple`, of one disparity: each (R,)."""
    disparity, of = DISPARITIES[name], METRICS[metric]
    groups, replicates = (
        values.sample[m, list(row.subgroups)],
        values.bootstrap[m, list(row.subgroups)],
    )
    plain = disparity.value(groups, values.sample[m, row.overall], of)
    in_replicates = disparity.value(replicates, values.bootstrap[m, row.overall], of)
    value = (
        np.maximum(2 * plain - intervals.mean(in_replicates), 0)
        if disparity.bias_corrected
        else plain
    )
    if disparity.bias_corrected and not in_replicates.shape[-1]:
        value = np.full(plain.shape, np.nan)
    sampled = Sampled(plain, in_replicates, groups, replicates)
    level = float(intervals.expanded(confidence, np.array(row.n_patients)))
    low, high = intervals.INTERVALS[disparity.interval](sampled, disparity, of, level)
    lowest, highest = disparity.bounds(of.bounds)
    return (
        value,
        np.maximum(low, lowest),
        np.minimum(high, highest),
        intervals.invalid(in_replicates),
    )


def _criterion(
    criterion: Criterion, metrics: Sequence[str], row: Row, values: Values, confidence: float
) -> tuple[np.ndarray, ...]:
    """As `_disparity`; of several metrics, the interval is made as that of a spread, from the
    combined errors.
    """
    if len(criterion.metrics) == 1:
        (metric,) = criterion.metrics
        return _disparity(
            criterion.disparity, metric, metrics.index(metric), row, values, confidence
        )
    at = np.ix_([metrics.index(metric) for metric in criterion.metrics], row.subgroups)
    groups, replicates = (
        values.sample[at].swapaxes(0, 1),
        values.bootstrap[at].swapaxes(0, 1),
    )  # (G, metrics, R, B)

    def combined(groups: np.ndarray, *_: Any) -> np.ndarray:
        return criterion.combine(gap(groups), axis=0)

    value = combined(groups)
    level = float(intervals.expanded(confidence, np.array(row.n_patients)))
    low, high = intervals.spread(value, groups, replicates, level, combined)
    high = np.minimum(high, 1)
    n_invalid = intervals.invalid(combined(replicates))
    return (
        (1 - value, 1 - high, 1 - low, n_invalid)
        if criterion.complement
        else (value, low, high, n_invalid)
    )


def _unzip(rows: Sequence[tuple[int, Row]]) -> tuple[list[int], list[Row]]:
    return [k for k, _ in rows], [row for _, row in rows]


def _fill(result: Estimates, at: Any, *columns: np.ndarray) -> None:
    for whole, part in zip(result, columns, strict=True):
        whole[at] = part
