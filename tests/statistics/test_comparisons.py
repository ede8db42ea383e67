"""Corrections against statsmodels, ranks against Demšar's tables and example, selection against
brute force.
"""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fairjax.statistics.comparisons import benjamini_hochberg, friedman_nemenyi, holm, wilcoxon
from fairjax.statistics.selection import SELECTORS, distance_to_optimum, pareto_front
from fairjax.utils.errors import UserError


@settings(deadline=None, max_examples=50)
@given(p=st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=30))
def test_corrections_equal_those_of_statsmodels(p):
    with mock.patch("gc.collect"):  # which statsmodels calls each time: a third of a second here
        expected = [multipletests(p, method=method)[1] for method in ("holm", "fdr_bh")]
    np.testing.assert_allclose([holm(np.array(p)), benjamini_hochberg(np.array(p))], expected)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_was_not_tested_does_not_count(correct):
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    np.testing.assert_array_equal(
        correct(p)[[0, 1, 1], [0, 0, 1]], correct(np.array([0.01, 0.04, 0.03]))
    )
    assert np.isnan(correct(p)[0, 1])
    assert np.isnan(correct(np.full(3, np.nan))).all()


def test_signed_ranks_are_those_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12))
    assert wilcoxon(np.append(a, np.nan), np.append(b, 1.0)).p_value == stats.wilcoxon(a, b).pvalue
    assert wilcoxon(a, a).p_value == 1
    assert np.isnan(wilcoxon(a[:1], b[:1]).p_value)


# AUCs of C4.5 (plain, tuned m, tuned cf, both) on 14 datasets: Demšar 2006, table 6.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967], [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931], [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875], [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip


def test_ranks_equal_those_of_the_published_example():
    ranks = friedman_nemenyi(DEMSAR)
    np.testing.assert_allclose(ranks.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert ranks.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert friedman_nemenyi(DEMSAR, alpha=0.1).critical_difference == pytest.approx(1.12, abs=5e-3)
    assert ranks.cliques == [[3, 1, 2, 0]]
    assert ranks.p_value == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue)


@pytest.mark.parametrize(
    ("k", "q"),
    [
        (2, 1.960),
        (3, 2.343),
        (4, 2.569),
        (5, 2.728),
        (6, 2.850),
        (7, 2.949),
        (8, 3.031),
        (9, 3.102),
        (10, 3.164),
    ],
)
def test_critical_values_are_those_of_the_published_table(k, q):
    table = np.random.default_rng(k).random((7, k))
    assert friedman_nemenyi(table).critical_difference == pytest.approx(
        q * np.sqrt(k * (k + 1) / 42), abs=1e-3
    )


def test_incomplete_datasets_are_left_out_and_losses_rank_the_other_way():
    table = np.array([[1.0, 2, 3], [1, 3, 2], [np.nan, 1, 1], [1, 2, 3]])
    ranks = friedman_nemenyi(table, higher_is_better=False)
    np.testing.assert_allclose(ranks.mean_ranks, [1, 7 / 3, 8 / 3])
    assert (ranks.n_datasets, ranks.n_dropped) == (3, 1)
    with pytest.raises(UserError, match="at least 2 methods and 2 datasets"):
        friedman_nemenyi(table[:1])


def test_equal_methods_have_equal_ranks_and_the_p_value_one():
    ranks = friedman_nemenyi(np.ones((4, 3)))
    assert ranks.p_value == 1
    assert ranks.cliques == [[0, 1, 2]]


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25)


@given(points=points)
def test_the_pareto_front_is_what_nobody_beats(points):
    u, d = np.array(points, float).T
    beaten = [any((u >= u[i]) & (d <= d[i]) & ((u > u[i]) | (d < d[i]))) for i in range(len(u))]
    np.testing.assert_array_equal(pareto_front(u, d), ~np.array(beaten))


def test_runs_without_a_number_are_never_chosen():
    groups = np.array([[0.9, np.nan], [0.5, 0.6], [0.7, 0.5]])
    overall = np.array([np.nan, 0.55, 0.6])
    assert not pareto_front(overall, np.array([0.0, 0.1, 0.2]))[0]
    assert {name: choose(groups, overall) for name, choose in SELECTORS.items()} == {
        "overall": 2,
        "minimax": 2,
        "dto": 2,
    }
    for choose in SELECTORS.values():
        with pytest.raises(UserError, match="no run can be selected"):
            choose(np.full((2, 2), np.nan), np.full(2, np.nan))


def test_selectors_want_different_things():
    groups, overall = (
        np.array([[0.95, 0.60], [0.80, 0.75], [0.86, 0.74]]),
        np.array([0.9, 0.7, 0.8]),
    )
    assert {name: choose(groups, overall) for name, choose in SELECTORS.items()} == {
        "overall": 0,
        "minimax": 1,
        "dto": 2,
    }
    np.testing.assert_allclose(
        distance_to_optimum(groups), np.hypot(groups[:, 0] - 0.95, groups[:, 1] - 0.75)
    )
