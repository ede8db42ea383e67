"""BCa against scipy, the jackknife it needs, and permutation tests against brute force."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fairjax.metrics.table import CLASSIFICATION, METRICS
from fairjax.statistics import intervals
from fairjax.statistics.evaluation import Evaluation, evaluate_runs
from fairjax.statistics.permutation import MAX_GROUPS, gap_p_values
from fairjax.statistics.schemes import MAX_BLOCKS, Jackknife, Permutation


def test_bca_equals_scipy_on_the_same_replicates():
    rng = np.random.default_rng(0)
    data = rng.exponential(size=40)
    result = stats.bootstrap((data,), np.mean, n_resamples=999, method="BCa", random_state=rng)
    jackknife = (data.sum() - data) / (len(data) - 1)
    low, high = intervals.bca(data.mean(), result.bootstrap_distribution, jackknife, 0.95)
    np.testing.assert_allclose([low, high], result.confidence_interval, rtol=1e-9)


def test_bca_follows_the_skew_that_percentiles_do_not():
    rng = np.random.default_rng(1)
    n = 60
    labels = np.arange(n) % 2
    scores = 1 / (1 + np.exp(-rng.normal(3 * labels, 1)))
    plain, corrected = (
        evaluate_runs(scores, labels, {}, 0.5, metrics=("auc", "tpr"), n_boot=2000, interval=name)
        for name in ("percentile", "bca")
    )
    assert plain["value"][0] == corrected["value"][0]
    assert corrected["ci_low"][0] < plain["ci_low"][0]
    assert corrected["ci_high"][0] <= plain["ci_high"][0]


def test_the_jackknife_leaves_out_each_cluster_once():
    weights = np.asarray(Jackknife.build(np.array([0, 0, 1, 2, 2])).weights(0, jnp.arange(3)))
    np.testing.assert_array_equal(weights.sum(1), 2)
    assert (weights[0] == weights[1]).all()
    assert (weights[3] == weights[4]).all()


def test_many_clusters_are_left_out_in_blocks():
    jackknife = Jackknife.build(np.arange(2 * MAX_BLOCKS + 1))
    assert jackknife.n_blocks == MAX_BLOCKS
    assert set(np.bincount(jackknife.block)) == {2, 3}


@pytest.mark.parametrize("n_blocks", [50, 1000])
def test_the_acceleration_of_blocks_is_about_that_of_single_clusters(n_blocks):
    rng = np.random.default_rng(2)
    data = rng.exponential(size=5000)
    block = rng.permutation(5000) % n_blocks
    blocks = (data.sum() - np.bincount(block, data)) / (5000 - np.bincount(block))
    single = (data.sum() - data) / 4999
    acceleration = [
        (x**3).sum() / (6 * (x**2).sum() ** 1.5)
        for x in (blocks.mean() - blocks, single.mean() - single)
    ]
    assert acceleration[0] == pytest.approx(acceleration[1], abs=0.01)


def test_a_permutation_keeps_the_groups_of_each_label_and_moves_patients_whole():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    labels, codes = (patients % 3 == 0).astype(int), (patients % 5).clip(max=2)
    codes[patients == 7] = -1
    weights = np.asarray(
        Permutation.build(codes, labels, patients).weights(1, jnp.arange(15))
    ).reshape(len(patients), 5, 3)
    np.testing.assert_array_equal(weights[:, 0], codes[:, None] == np.arange(3))
    assert (weights[codes < 0] == 0).all()
    assert (weights[codes >= 0].sum(-1) == 1).all()
    one_row = np.unique(patients, return_index=True)[1]
    for label in (0, 1):
        of_label = one_row[(labels[one_row] == label) & (codes[one_row] >= 0)]
        np.testing.assert_array_equal(
            weights[of_label].sum(0), np.bincount(codes[of_label], minlength=3)[None].repeat(5, 0)
        )
    for patient in range(60):
        assert (weights[patients == patient] == weights[patients == patient][0]).all()
    assert (weights[:, 1] != weights[:, 2]).any()


def options_of(n, metrics, n_permutations):
    """Samples of weight 1, each of its own patient."""
    return {
        "thresholds": np.array([0.5]),
        "patients": np.arange(n),
        "weights": np.ones(n),
        "metrics": metrics,
        "n_permutations": n_permutations,
        "seed": 0,
    }


def test_p_values_are_those_of_scipy_on_the_same_statistic():
    rng = np.random.default_rng(4)
    n = 160
    labels, codes = np.arange(n) % 2, rng.integers(0, 2, n)
    scores = 1 / (1 + np.exp(-rng.normal(labels * (1 + 0.9 * codes), 1)))
    options = options_of(n, ("auc", "brier"), 4000)
    got = gap_p_values(scores[None], labels, codes, **options)[:, 0]

    def shuffled():
        drawn = codes.copy()
        for label in (0, 1):
            drawn[labels == label] = rng.permutation(codes[labels == label])
        return drawn

    def gaps(codes):
        groups = [codes == code for code in (0, 1)]
        auc = [roc_auc_score(labels[g], scores[g]) for g in groups]
        brier = [((scores - labels)[g] ** 2).mean() for g in groups]
        return abs(auc[0] - auc[1]), abs(brier[0] - brier[1])

    expected = (np.array([gaps(shuffled()) for _ in range(2000)]) >= gaps(codes)).mean(0)
    np.testing.assert_allclose(got, expected, atol=4 * np.sqrt(0.25 / 2000))
    assert got[0] < 0.05


def test_p_values_of_no_gap_are_uniform():
    rng = np.random.default_rng(5)
    n, runs = 100, 400
    labels, codes = np.arange(n) % 2, np.arange(n) // 2 % 3
    scores = 1 / (1 + np.exp(-rng.normal(labels, 1, (runs, n))))
    options = options_of(n, ("auc",), 199) | {"thresholds": np.full(runs, 0.5, np.float32)}
    p = gap_p_values(scores.astype(np.float32), labels, codes, **options)
    assert stats.kstest(p[0], "uniform").pvalue > 0.01


def test_identical_scores_have_the_p_value_one_and_too_many_groups_none():
    n = np.arange(200)
    scores, labels, options = np.full((1, 200), 0.3), n % 2, options_of(200, ("auc",), 20)
    assert gap_p_values(scores, labels, n // 100, **options)[0, 0] == 1
    for codes in (n % (MAX_GROUPS + 1), 0 * n):
        assert np.isnan(gap_p_values(scores, labels, codes, **options)).all()


def test_groups_without_numbers_take_no_part_in_the_test():
    rng = np.random.default_rng(6)
    labels, codes = np.arange(90) % 2, np.concatenate([np.arange(88) // 44, [2, 2]])
    scores = rng.random(90)
    with_tiny = Evaluation(
        labels, {"a": (codes, ["x", "y", "tiny"])}, 90, metrics=("auc",), n_boot=0
    )
    without = Evaluation(
        labels, {"a": (np.where(codes == 2, -1, codes), ["x", "y"])}, 90, metrics=("auc",), n_boot=0
    )
    p = [e.gap_p_values("a", scores[None], np.array([0.5]), 50) for e in (with_tiny, without)]
    assert p[0] == p[1]


def test_the_difference_of_two_runs_is_paired_on_the_same_draws():
    rng = np.random.default_rng(7)
    n = 200
    labels = np.arange(n) % 2
    a = 1 / (1 + np.exp(-rng.normal(labels, 1)))
    scores = np.stack([a, np.clip(a + rng.normal(0, 0.01, n), 0, 1), rng.random(n)])
    evaluation = Evaluation(
        labels, {"g": (np.arange(n) // 100, ["x", "y"])}, n, metrics=("auc", "brier"), n_boot=300
    )
    columns, compared = evaluation.evaluate_and_compare(scores, 0.5)
    value = {
        key: v
        for *key, v in zip(
            *(columns[c] for c in ("run", "metric", "attribute", "group", "value")), strict=True
        )
        for key in [tuple(key)]
    }
    alone = {
        key[1:]: (row["ci_low"], row["ci_high"])
        for row in _rows(columns)
        for key in [(row["run"], row["metric"], row["attribute"], row["group"])]
        if row["run"] == 0
    }
    assert len(compared["a"]) == 3 * 2 * 4
    for row in _rows(compared):
        key = row["metric"], row["attribute"], row["group"]
        assert row["value"] == pytest.approx(value[row["a"], *key] - value[row["b"], *key])
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        if (row["a"], row["b"]) == (0, 1):  # nearly the same scores: hardly any noise is left
            assert row["ci_high"] - row["ci_low"] < 0.5 * (alone[key][1] - alone[key][0])
        elif row["metric"] == "auc":
            assert (row["p_value"] < 0.05) == (row["ci_low"] > 0 or row["ci_high"] < 0)


def _rows(columns):
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


@pytest.mark.row("metric", "dice", "iou", "nsd", "hd95")
@pytest.mark.row("metric", "dice_median", "iou_median", "nsd_median", "hd95_median")
def test_values_without_classes_have_means_and_medians():
    rng = np.random.default_rng(8)
    values, codes, weights = (
        rng.random(101).round(2),
        rng.integers(0, 3, 101),
        rng.integers(0, 3, 101),
    )
    metrics = tuple(name for name in METRICS if name not in CLASSIFICATION)
    options = {"metrics": metrics, "n_boot": 50}
    table = evaluate_runs(values, None, {"g": (codes, list("abc"))}, 0, weights=weights, **options)
    for row in _rows(table):
        if row["group"] in "abc":
            repeated = np.repeat(values, weights * (codes == "abc".index(row["group"])))
            function = np.median if "median" in row["metric"] else np.mean
            assert row["value"] == pytest.approx(function(repeated))
            assert row["ci_low"] <= row["value"] <= row["ci_high"]
