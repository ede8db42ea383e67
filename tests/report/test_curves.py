"""What curves, bins and clouds are made of, against scikit-learn, SciPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score

from fairjax.report.curves import calibration_bins, roc_steps, thinned, wilson


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 3000), st.sampled_from([None, 1, 2]))
def test_roc_corners_span_the_area_of_the_auc(seed, n, decimals):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(0, 2, n - 2))
    scores = rng.normal(labels, 1.0)
    scores = scores if decimals is None else np.round(scores, decimals)
    fpr, tpr = roc_steps(scores, labels)
    assert (fpr[0], tpr[0]) == (0, 0)
    assert (fpr[-1], tpr[-1]) == (1, 1)
    assert np.all(np.diff(fpr) >= 0)
    assert np.all(np.diff(tpr) >= 0)
    assert auc(fpr, tpr) == pytest.approx(roc_auc_score(labels, scores), abs=2e-3)


def test_roc_of_many_samples_has_few_corners_and_of_one_class_none():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100_000)
    assert len(roc_steps(rng.normal(labels), labels)[0]) < 1500
    assert roc_steps(rng.normal(size=5), np.ones(5)) is None


def test_calibration_bins_are_the_shared_ones_and_count_every_sample():
    scores = np.array([0.0, 0.05, 0.1, 0.95, 1.0])
    bins = calibration_bins(scores, np.array([0, 1, 1, 1, 1]), 0.95)
    assert bins.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(bins.mean_score, [0.025, 0.1, 0.975])
    np.testing.assert_allclose(bins.frequency, [0.5, 1, 1])
    assert np.all(bins.low <= bins.frequency)
    assert np.all(bins.frequency <= bins.high + 1e-12)


def test_wilson_equals_scipy():
    binomtest = pytest.importorskip("scipy.stats").binomtest
    for k, n, level in [(0, 5, 0.95), (3, 10, 0.9), (10, 10, 0.99)]:
        interval = binomtest(k, n).proportion_ci(level, "wilson")
        low, high = wilson(np.array([k / n]), np.array([n]), level)
        np.testing.assert_allclose([low[0], high[0]], interval, atol=1e-12)


def test_thinning_keeps_each_colour_and_the_extent_of_the_cloud():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12_288))
    kind = np.arange(len(x)) % 6
    keep = thinned(x, y, kind, 1500)
    assert 1000 < keep.sum() <= 1500
    assert set(kind[keep]) == set(range(6))
    assert np.ptp(x[keep]) > 0.9 * np.ptp(x)
    assert thinned(x[:1500], y[:1500], kind[:1500], 1500).all()
