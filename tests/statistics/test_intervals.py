"""Intervals: quantiles with undefined replicates, and coverage of the simultaneous ones."""

import numpy as np
import pytest

from fairjax.metrics.disparity import DISPARITIES, gap, worst
from fairjax.metrics.table import METRICS
from fairjax.statistics import intervals


def test_quantiles_are_those_of_the_defined_replicates():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 101)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    low, high = intervals.percentile(x, 0.9)
    np.testing.assert_allclose(low, np.nanquantile(x, 0.05, axis=-1), atol=1e-6)
    np.testing.assert_allclose(high, np.nanquantile(x, 0.95, axis=-1), atol=1e-6)
    np.testing.assert_array_equal(intervals.invalid(x), np.isnan(x).sum(-1))
    np.testing.assert_allclose(intervals.mean(x), np.nanmean(x, -1), atol=1e-6)


def test_there_is_no_interval_where_most_replicates_are_undefined():
    x = np.array([[1.0, 2, 3, np.nan], [1, np.nan, np.nan, np.nan], [np.nan] * 4])
    low, high = intervals.percentile(x, 0.95)
    assert np.isfinite([low[0], high[0]]).all()
    assert np.isnan([low[1:], high[1:]]).all()
    np.testing.assert_array_equal(intervals.mean(x), [2, 1, np.nan])


def test_no_replicates_give_no_interval():
    assert np.isnan(intervals.percentile(np.empty((3, 0)), 0.95)).all()
    assert np.isnan(intervals.spread(np.ones(3), np.ones((2, 3)), np.empty((2, 3, 0)), 0.95)).all()


def test_for_two_groups_the_gap_interval_is_symmetric_about_the_absolute_difference():
    rng = np.random.default_rng(1)
    groups = np.array([[0.7], [0.9]])
    replicates = groups[..., None] + rng.normal(0, 0.03, (2, 1, 4000))
    low, high = intervals.spread(gap(groups), groups, replicates, 0.95)
    q = np.quantile(np.abs((replicates[0] - 0.7) - (replicates[1] - 0.9)), 0.95)
    np.testing.assert_allclose([low[0], high[0]], [0.2 - q, 0.2 + q])


def simulate(true, n_simulations, n=100, n_boot=400, seed=0):
    """Intervals of gap and worst for group means of unit-variance data, by a parametric bootstrap."""
    rng = np.random.default_rng(seed)
    shape = (len(true), n_simulations)
    groups = np.asarray(true)[:, None] + rng.normal(0, n**-0.5, shape)
    replicates = groups[..., None] + rng.normal(0, n**-0.5, (*shape, n_boot))
    return (
        intervals.spread(gap(groups), groups, replicates, 0.95),
        intervals.extreme(worst(groups, groups, METRICS["auc"]), groups, replicates, 0.95),
    )


def covered(interval, truth):
    low, high = interval
    return ((low <= truth) & (truth <= high)).mean()


@pytest.mark.parametrize("n_groups", [2, 5])
def test_an_absent_gap_is_covered_nineteen_times_in_twenty(n_groups):
    gap_interval, worst_interval = simulate([0.5] * n_groups, 2000)
    assert 0.935 < covered(gap_interval, 0) < 0.965
    assert covered(worst_interval, 0.5) > 0.935


def test_a_present_gap_is_covered_and_seen():
    gap_interval, worst_interval = simulate([0.3, 0.5, 0.9], 2000)
    assert covered(gap_interval, 0.6) > 0.935
    assert covered(worst_interval, 0.3) > 0.935
    assert (gap_interval[0] > 0).mean() > 0.9


def test_worst_follows_the_direction_of_the_metric():
    groups = np.array([[0.2], [0.6]])
    assert worst(groups, groups, METRICS["auc"]) == 0.2
    assert worst(groups, groups, METRICS["bce"]) == 0.6
    assert not DISPARITIES["worst"].applies(METRICS["selection_rate"])


def test_disparities_name_an_interval_that_exists():
    assert {row.interval for row in DISPARITIES.values()} <= set(intervals.INTERVALS)
