"""Post-processing against fairlearn, scipy and scikit-learn."""

import jax
import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer
from scipy.optimize import minimize_scalar
from scipy.special import expit, xlogy
from scipy.special import logit as exact_logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from fairjax.training.postprocessing import table as postprocess
from fairjax.training.postprocessing import thresholds
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.utils.errors import UserError

PARITIES = ("demographic_parity", "equal_opportunity", "equalized_odds")
THEIRS = {"equal_opportunity": "true_positive_rate_parity"}


class Scored(ClassifierMixin, BaseEstimator):
    """A fitted estimator whose only feature is the score."""

    classes_ = (0, 1)

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.asarray(x)[:, 0]


def cohort(n=240, groups=3, runs=4, seed=0, decimals=None):
    """Scores that are worse, and shifted, the higher the group's code; with ties if rounded."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, groups, n)
    labels = (rng.random(n) < 0.3 + 0.15 * codes).astype(int)
    z = (2.5 - codes) * (labels - 0.5) + 0.6 * codes + rng.normal(size=(runs, n))
    scores = expit(z).astype(np.float32)
    return (scores if decimals is None else scores.round(decimals)), labels, codes


def rates(probabilities, labels, codes, groups):
    """Selection rate, TPR and FPR (3, r, g)."""
    parts = [np.ones_like(labels, bool), labels == 1, labels == 0]
    return np.array(
        [[probabilities[:, part & (codes == g)].mean(1) for g in range(groups)] for part in parts]
    ).swapaxes(1, 2)


@pytest.mark.parametrize("objective", ["accuracy", "balanced_accuracy"])
@pytest.mark.parametrize("name", PARITIES)
@pytest.mark.parametrize(("groups", "decimals"), [(2, None), (3, 1), (5, None)])
def test_thresholds_are_those_of_fairlearn(name, objective, groups, decimals):
    scores, labels, codes = cohort(groups=groups, decimals=decimals)
    rule = postprocess.fit(name, scores, labels, codes, groups, objective=objective)
    ours = postprocess.apply(name, rule, scores, codes)
    same_rate, same_solution = 0, []
    for run, row in enumerate(scores.astype(np.float64)):
        peer = ThresholdOptimizer(
            estimator=Scored(), constraints=THEIRS.get(name, name), objective=f"{objective}_score", prefit=True,
            predict_method="predict",
        )  # fmt: skip
        peer.fit(row[:, None], labels, sensitive_features=codes)
        theirs = peer._pmf_predict(row[:, None], sensitive_features=codes)[:, 1]
        gain = peer._overall_tradeoff_curve["y"].max() if name != "equalized_odds" else None
        if gain is not None:
            assert rule.gain[run] == pytest.approx(gain, abs=1e-9)
        else:
            correct = np.where(labels == 1, theirs, 1 - theirs)
            classes = [correct[labels == c].mean() for c in (0, 1)]
            assert rule.gain[run] == pytest.approx(
                correct.mean() if objective == "accuracy" else np.mean(classes), abs=1e-9
            )
        if (
            abs(peer._x_best - rule.rate[run]) < 1e-9
        ):  # among equally good rates rounding decides for fairlearn
            same_rate += 1
            np.testing.assert_allclose(
                rates(ours[run][None], labels, codes, groups),
                rates(theirs[None], labels, codes, groups),
                atol=1e-9,
            )
            same_solution += [
                np.allclose(ours[run][codes == g], theirs[codes == g], 0, 1e-9)
                for g in range(groups)
            ]
    # Where three points are on a line, fairlearn's rounding may keep the middle one: other
    # thresholds, the same rates.
    assert same_rate >= 2
    assert np.mean(same_solution) > 0.6


@pytest.mark.parametrize("name", PARITIES)
def test_what_is_to_be_equal_is_equal_on_the_split_it_was_fitted_to(name):
    scores, labels, codes = cohort(groups=4)
    rule = postprocess.fit(name, scores, labels, codes, 4)
    selection, tpr, fpr = rates(postprocess.apply(name, rule, scores, codes), labels, codes, 4)
    equal = {
        "demographic_parity": [selection],
        "equal_opportunity": [tpr],
        "equalized_odds": [fpr, tpr],
    }[name]
    np.testing.assert_allclose(equal[0], np.repeat(rule.rate[:, None], 4, 1), atol=1e-9)
    for rate in equal:
        np.testing.assert_allclose(rate, np.repeat(rate[:, :1], 4, 1), atol=1e-9)


def test_the_hull_is_that_of_a_plain_monotone_chain():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.integers(0, 3, (6, 30)), 1)
    y, allowed = rng.integers(0, 20, (6, 30)), rng.random((6, 30)) < 0.8
    allowed[:, [0, -1]] = True
    stack, size = thresholds._hull(x, y, allowed)
    for row in range(6):
        ours = {(x[row, i], y[row, i]) for i in stack[row, : size[row]]}
        best = {a: max(y[row, allowed[row] & (x[row] == a)]) for a in set(x[row, allowed[row]])}
        kept = []
        for point in sorted(best.items()):
            while (
                len(kept) > 1
                and np.cross(np.subtract(kept[-1], kept[-2]), np.subtract(point, kept[-2])) >= 0
            ):
                kept.pop()
            kept.append(point)
        assert ours == set(kept)


@pytest.mark.parametrize("name", POSTPROCESSORS)
def test_a_runs_rule_is_the_same_alone_and_with_others(name, monkeypatch):
    scores, labels, codes = cohort()
    together = postprocess.fit(name, scores, labels, codes, 3)
    for module in (thresholds, postprocess.calibration):
        monkeypatch.setattr(module, "_CHUNK", 1)  # one run at a time
    for a, b in zip(together, postprocess.fit(name, scores, labels, codes, 3)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POSTPROCESSORS)
def test_unknown_and_one_class_groups_get_the_pooled_rule_and_it_is_said(name):
    scores, labels, codes = cohort(groups=3)
    labels = np.where(codes == 2, 1, labels)
    rule = postprocess.fit(name, scores, labels, codes, 3)
    pooled, third, first = (
        postprocess.apply(name, rule, scores, np.full_like(codes, code)) for code in (-1, 2, 0)
    )
    np.testing.assert_array_equal(pooled, third)
    assert not np.array_equal(pooled, first)
    assert [line for line in postprocess.notes(name, rule, ["a", "b", "c"]) if ": c has" in line]
    assert not [
        line for line in postprocess.notes(name, rule, ["a", "b", "c"]) if ": a has" in line
    ]


@pytest.mark.parametrize("name", PARITIES)
def test_samples_of_unknown_group_do_not_move_the_rules_of_groups(name):
    scores, labels, codes = cohort(groups=2)
    more = np.random.default_rng(1).random((len(scores), 50)).astype(np.float32)
    with_unknown = postprocess.fit(
        name, np.c_[scores, more], np.r_[labels, np.ones(50, int)], np.r_[codes, np.full(50, -1)], 2
    )
    without = postprocess.fit(name, scores, labels, codes, 2)
    np.testing.assert_array_equal(with_unknown.thresholds[:, :2], without.thresholds[:, :2])
    assert not np.array_equal(with_unknown.thresholds[:, 2], without.thresholds[:, 2])


@pytest.mark.parametrize("name", POSTPROCESSORS)
def test_a_run_without_finite_scores_is_nan_and_harms_no_other(name):
    scores, labels, codes = cohort()
    broken = scores.copy()
    broken[1, 5] = np.nan
    rule = postprocess.fit(name, broken, labels, codes, 3)
    applied = postprocess.apply(name, rule, scores, codes)
    clean = postprocess.apply(name, postprocess.fit(name, scores, labels, codes, 3), scores, codes)
    assert np.isnan(applied[1]).all()
    np.testing.assert_allclose(np.delete(applied, 1, 0), np.delete(clean, 1, 0), rtol=1e-6)


def test_platt_lines_are_those_of_unpenalised_logistic_regression():
    scores, labels, codes = cohort()
    rule = postprocess.fit("platt", scores, labels, codes, 3)
    assert rule.has_own_rule.all()
    for run, row in enumerate(scores):
        for g in range(4):
            member = (codes == g) | (g == 3)
            x = exact_logit(row[member].astype(np.float64))[:, None]
            theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, labels[member])
            assert rule.slope[run, g] == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
            assert rule.intercept[run, g] == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_platt_lines_of_rare_scores_far_from_one_half_are_exact_too():
    rng = np.random.default_rng(0)
    z = np.repeat(rng.normal(-8, 0.4, (1, 240)), 4, 0)
    labels = (rng.random(240) < expit(2 * (z[0] + 8))).astype(int)
    rule = postprocess.fit("platt", expit(z).astype(np.float32), labels, np.zeros(240, int), 3)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:1].T, labels)
    assert rule.slope[0, 0] == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert rule.intercept[0, 0] == pytest.approx(theirs.intercept_[0], rel=1e-3)


def test_temperatures_minimise_the_log_loss():
    scores, labels, codes = cohort()
    rule = postprocess.fit("temperature", scores, labels, codes, 3)
    assert rule.has_own_rule.all()
    assert not rule.intercept.any()
    for run, row in enumerate(exact_logit(scores.astype(np.float64))):
        for g in range(4):
            member = (codes == g) | (g == 3)

            def loss(slope, z=row[member], y=labels[member]):
                return -(xlogy(y, expit(slope * z)) + xlogy(1 - y, expit(-slope * z))).sum()

            theirs = minimize_scalar(
                loss, bounds=(1e-3, 50), method="bounded", options={"xatol": 1e-10}
            ).x
            assert rule.slope[run, g] == pytest.approx(theirs, rel=1e-4)


def test_a_temperature_keeps_the_order_of_scores_within_a_group():
    scores, labels, codes = cohort()
    calibrated = postprocess.apply(
        "temperature", postprocess.fit("temperature", scores, labels, codes, 3), scores, codes
    )
    for g in range(3):
        order = np.argsort(scores[0, codes == g])
        assert (np.diff(calibrated[0, codes == g][order]) >= 0).all()


@pytest.mark.parametrize(
    ("name", "flip"), [("platt", 1), ("platt", -1), ("temperature", 1), ("temperature", -1)]
)
def test_a_group_without_a_finite_optimum_is_not_given_one(name, flip):
    scores, labels, codes = cohort()
    z = (
        flip * (2 * labels - 1) * (1 + np.arange(labels.size) / labels.size)
    )  # separated, the wrong way too
    scores = np.where(codes == 1, expit(z), scores)
    rule = postprocess.fit(name, scores, labels, codes, 3)
    assert rule.has_own_rule[:, [0, 2, 3]].all()
    assert not rule.has_own_rule[:, 1].any()
    np.testing.assert_array_equal(rule.slope[:, 1], rule.slope[:, 3])


def test_scores_stay_as_they_are_where_even_the_pooled_line_has_no_optimum():
    scores, labels, codes = cohort()
    inverted = 1 - scores
    rule = postprocess.fit("temperature", inverted, labels, codes, 3)
    assert not rule.has_own_rule.any()
    np.testing.assert_allclose(
        postprocess.apply("temperature", rule, inverted, codes), inverted, rtol=1e-5
    )
    assert "scores unchanged" in postprocess.notes("temperature", rule, ["a", "b", "c"])[-1]


def test_draws_are_by_seed_and_happen_as_often_as_they_should():
    probabilities = np.tile(np.linspace(0, 1, 5)[:, None], (1, 4000))
    key = jax.random.key(0)
    drawn = postprocess.draw(key, probabilities, np.array([0, 1, 2, 3, 4]))
    np.testing.assert_allclose(drawn.mean(1), probabilities[:, 0], atol=0.03)
    assert not drawn[0].any()
    assert drawn[4].all()
    np.testing.assert_array_equal(
        postprocess.draw(key, probabilities[3:4], np.array([3]))[0], drawn[3]
    )
    same_seed = postprocess.draw(key, probabilities[[1, 3]], np.array([7, 7]))
    assert (
        same_seed[0] <= same_seed[1]
    ).all()  # the likelier decision follows from the less likely one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "platts"}, "did you mean 'platt'"),
        ({"labels": np.ones(240, int)}, "both classes"),
        ({"labels": np.full(240, 2)}, "labels 0 and 1"),
        ({"codes": np.full(240, 3)}, "groups from -1 to 2"),
        ({"codes": np.zeros(3, int)}, "n labels and n groups"),
        ({"objective": "f1"}, "unknown objective"),
        ({"objektive": "accuracy"}, "did you mean 'objective'"),
        ({"name": "platt", "objective": "accuracy"}, "option of platt"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, message):
    scores, labels, codes = cohort()
    arguments = {
        "name": "equalized_odds",
        "scores_rn": scores,
        "labels": labels,
        "codes": codes,
        "n_groups": 3,
    }
    with pytest.raises(UserError, match=message):
        postprocess.fit(**arguments | change)
