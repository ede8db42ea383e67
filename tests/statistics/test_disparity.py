"""Disparities and criteria against fairlearn, and their formulas where it has none."""

import fairlearn.metrics as fl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fairjax.metrics.disparity import CRITERIA, CRITERION, DISPARITIES
from fairjax.metrics.table import CLASSIFICATION, METRICS
from fairjax.statistics.evaluation import evaluate_runs

N = 120


def make(seed, n_groups=3):
    rng = np.random.default_rng(seed)
    groups = np.concatenate(
        [np.repeat(np.arange(n_groups), 2), rng.integers(0, n_groups, N - 2 * n_groups)]
    )
    labels = np.concatenate([np.tile([0, 1], n_groups), rng.integers(0, 2, N - 2 * n_groups)])
    scores = np.clip(rng.normal(0.35 + 0.2 * labels + 0.1 * (groups == 0), 0.2).round(2), 0, 1)
    return scores, labels, groups


def evaluate(scores, labels, groups, metrics, **options):
    names = [f"g{code}" for code in range(groups.max() + 1)]
    defaults = {
        "n_boot": 0,
        "min_group": 1,
        "disparities": tuple(DISPARITIES),
        "with_criteria": True,
    }
    table = evaluate_runs(
        scores, labels, {"a": (groups, names)}, 0.5, metrics=metrics, **defaults | options
    )
    keys = zip(table["attribute"], table["metric"], table["group"])
    columns = zip(table["value"], table["ci_low"], table["ci_high"])
    return dict(zip(keys, columns))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_groups=st.integers(2, 5))
def test_criteria_equal_those_of_fairlearn(seed, n_groups):
    scores, labels, groups = make(seed, n_groups)
    got = evaluate(scores, labels, groups, ("tpr", "fpr", "tnr", "fnr", "ppv", "selection_rate"))
    predicted, who = (scores >= 0.5).astype(int), {"sensitive_features": groups}
    mean_odds = fl.equalized_odds_difference(labels, predicted, agg="mean", **who)
    expected = {
        "demographic_parity_difference": fl.demographic_parity_difference(labels, predicted, **who),
        "demographic_parity_ratio": fl.demographic_parity_ratio(labels, predicted, **who),
        "equal_opportunity_difference": fl.equal_opportunity_difference(labels, predicted, **who),
        "equalized_odds_difference": fl.equalized_odds_difference(labels, predicted, **who),
        "equalized_odds_mean_difference": mean_odds,
        "eod": 1 - mean_odds,
        "underdiagnosis_gap": fl.MetricFrame(
            metrics=fl.false_negative_rate, y_true=labels, y_pred=predicted, **who
        ).difference(),
        "overdiagnosis_gap": fl.MetricFrame(
            metrics=fl.false_positive_rate, y_true=labels, y_pred=predicted, **who
        ).difference(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(got["a", name, CRITERION][0], value, atol=1e-12, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_groups_gap_ratio_and_worst_equal_those_of_a_metric_frame(seed):
    scores, labels, groups = make(seed)
    functions = {
        "auc": sk.roc_auc_score,
        "auprc": sk.average_precision_score,
        "brier": sk.brier_score_loss,
    }
    got = evaluate(scores, labels, groups, tuple(functions))
    for metric, function in functions.items():
        frame = fl.MetricFrame(
            metrics=function, y_true=labels, y_pred=scores, sensitive_features=groups
        )
        values = {
            "overall": frame.overall,
            "gap": frame.difference(),
            "std": frame.by_group.std(ddof=0),
        }
        values |= {
            "ratio": frame.ratio(),
            "worst": frame.group_max() if metric == "brier" else frame.group_min(),
        }
        values |= {f"g{code}": value for code, value in frame.by_group.items()}
        for group, value in values.items():
            np.testing.assert_allclose(
                got["a", metric, group][0], value, atol=1e-12, err_msg=f"{metric} {group}"
            )


def test_equity_scaled_and_skewness_follow_their_formulas():
    scores, labels, groups = make(3)
    got = evaluate(scores, labels, groups, ("auc",))
    by_group = np.array([got["a", "auc", f"g{code}"][0] for code in range(3)])
    overall = got["a", "auc", "overall"][0]
    assert got["a", "auc", "es_std"][0] == pytest.approx(overall / (1 + by_group.std()))
    assert got["a", "auc", "es_dev"][0] == pytest.approx(
        overall / (1 + np.abs(by_group - overall).sum())
    )
    assert got["a", "auc", "skewness"][0] == pytest.approx(
        (1 - by_group.min()) / (1 - by_group.max())
    )


def test_each_disparity_has_an_interval_within_its_bounds_about_its_value():
    scores, labels, groups = make(5)
    got = evaluate(scores, labels, groups, CLASSIFICATION, n_boot=400)
    for (_, metric, group), (value, low, high) in got.items():
        if group in DISPARITIES:
            least, most = DISPARITIES[group].bounds(METRICS[metric].bounds)
            if group == "ratio" and value == 0:  # has no logarithm, and so no interval
                continue
            assert least <= low <= high <= most
            assert low - 1e-9 <= value <= high + 1e-9 or group == "gap_corrected"
        elif group == CRITERION:
            assert 0 <= low <= value <= high <= 1
    assert {metric for _, metric, group in got if group == CRITERION} == set(CRITERIA)


def test_the_interval_of_a_criterion_of_one_metric_is_that_of_its_gap():
    scores, labels, groups = make(7)
    got = evaluate(scores, labels, groups, ("tpr", "fpr", "tnr"), n_boot=200)
    assert got["a", "equal_opportunity_difference", CRITERION] == got["a", "tpr", "gap"]
    odds = got["a", "equalized_odds_difference", CRITERION]
    assert (
        odds[2] - odds[0]
        >= max(got["a", name, "gap"][2] - got["a", name, "gap"][0] for name in ("tpr", "fpr"))
        - 1e-12
    )


def test_a_ratio_of_nothing_is_undefined_and_one_with_a_zero_has_no_interval():
    scores, labels, groups = make(9)
    nobody = evaluate(np.zeros(N), labels, groups, ("selection_rate",), n_boot=50)
    assert np.isnan(nobody["a", "selection_rate", "ratio"][0])
    one_group = evaluate(
        np.where(groups == 0, 0.0, scores), labels, groups, ("selection_rate",), n_boot=50
    )
    value, low, high = one_group["a", "selection_rate", "ratio"]
    assert value == 0
    assert np.isnan([low, high]).all()
