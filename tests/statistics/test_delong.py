"""DeLong's and Obuchowski's variances against their formulas, written out over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from fairjax.statistics.delong import auc_influence, delong_test, difference_interval, interval


def components(scores, labels):
    """Structural components over all pairs."""
    x, y = scores[labels == 1], scores[labels == 0]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    return wins.mean(), wins.mean(1), wins.mean(0)


def make(seed, n=60):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, n - 4)])
    return rng.normal(labels, 1, (2, n)).round(1), labels, rng.integers(0, n // 3, n)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_single_samples_have_delongs_variance(seed):
    (scores, _), labels, _ = make(seed)
    auc, influence = auc_influence(scores, labels, np.arange(60), 60)
    expected, v10, v01 = components(scores, labels)
    assert auc == pytest.approx(expected) == pytest.approx(roc_auc_score(labels, scores))
    variance = v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)
    assert (influence**2).sum() == pytest.approx(variance, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_clusters_have_obuchowskis_variance(seed):
    (scores, _), labels, clusters = make(seed)
    _, influence = auc_influence(scores, labels, clusters, 20)
    auc, v10, v01 = components(scores, labels)
    m, n = len(v10), len(v01)
    sum_10 = np.bincount(clusters[labels == 1], v10 - auc, 20)
    sum_01 = np.bincount(clusters[labels == 0], v01 - auc, 20)
    i10, i01 = (np.unique(clusters[labels == label]).size for label in (1, 0))
    cross = np.sqrt(i10 * i01 / ((i10 - 1) * (i01 - 1)))
    variance = (
        i10 / (i10 - 1) * (sum_10**2).sum() / m**2 + i01 / (i01 - 1) * (sum_01**2).sum() / n**2
    )
    variance += 2 * cross * (sum_10 * sum_01).sum() / (m * n)
    assert (influence**2).sum() == pytest.approx(variance, rel=1e-10)


def test_a_paired_test_has_delongs_covariance():
    (a, b), labels, _ = make(1)
    test = delong_test(a, b, labels)
    (auc_a, a10, a01), (auc_b, b10, b01) = components(a, labels), components(b, labels)
    variance = np.var(a10 - b10, ddof=1) / len(a10) + np.var(a01 - b01, ddof=1) / len(a01)
    assert test.difference == pytest.approx(auc_a - auc_b)
    assert test.se == pytest.approx(np.sqrt(variance))
    assert test.p_value == pytest.approx(
        2 * stats.norm.sf(abs(test.difference) / np.sqrt(variance))
    )
    assert delong_test(a, a, labels).p_value == 1


def test_intervals_stay_within_what_is_possible():
    assert interval(0.99, 0.02, 0.95) == (pytest.approx(0.9508, abs=1e-4), 1.0)
    assert interval(1.0, 0.0, 0.95) == (1.0, 1.0)
    assert difference_interval(0.9, 0.2, 0.95)[1] > 1


def test_one_class_has_neither_auc_nor_variance():
    auc, influence = auc_influence(np.ones(3), np.ones(3, int), np.arange(3), 3)
    assert np.isnan(auc)
    assert np.isnan(influence).all()
    assert np.isnan(auc_influence(np.arange(3.0), np.array([0, 0, 1]), np.arange(3), 3)[1][2])


def test_intervals_of_clustered_samples_cover_the_truth():
    rng = np.random.default_rng(3)
    n_patients, images, covered = 120, 3, 0
    clusters = np.repeat(np.arange(n_patients), images)
    labels = clusters % 2
    truth = stats.norm.cdf(1 / np.sqrt(2 * (1 + 0.5)))
    for _ in range(600):
        scores = (
            labels + rng.normal(0, 0.5**0.5, n_patients)[clusters] + rng.normal(size=clusters.size)
        )
        auc, influence = auc_influence(scores, labels, clusters, n_patients)
        low, high = interval(auc, np.linalg.norm(influence), 0.95)
        covered += low <= truth <= high
    assert 0.92 < covered / 600 < 0.975
