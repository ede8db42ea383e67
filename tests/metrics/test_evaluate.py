"""Every metric against scikit-learn on the same weights, and against plain loops where scikit-learn
has none.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn
from helpers.rows import held
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from fairjax.metrics.evaluate import evaluate, prepare
from fairjax.metrics.subgroups import BLOCK, Subgroups
from fairjax.metrics.table import CLASSIFICATION, METRICS

TOLERANCE = 2e-6
# Apart from the others: they take long to compile.
RECALIBRATION = ("calibration_slope", "calibration_intercept")
ALL = tuple(name for name in CLASSIFICATION if name not in RECALIBRATION)
N = BLOCK - 1  # every (subgroup, label) is one block, so that most tests share one compiled program


@partial(jax.jit, static_argnames="metrics")
def compute(subgroups, scores, threshold, weights, metrics=ALL):
    return evaluate(subgroups, prepare(subgroups, scores, threshold, metrics), weights)


def ratio(a, b):
    return a / b if b else np.nan


def expected_calibration_error(s, y, w):
    total = 0.0
    for low in np.arange(10):
        inside = (s >= np.float32(low / 10)) & ((s < np.float32((low + 1) / 10)) | (low == 9))
        total += abs((w * (s - y))[inside].sum())
    return total / w.sum()


def debiased_calibration_error(s, y, w):
    higher = (s[:, None] < s[None]).sum(1)  # samples with a higher score, whatever their weight
    total = 0.0
    for b in range(10):
        inside = higher * 10 // len(s) == b
        n = w[inside].sum()
        if n > 0:
            rate = (w * y)[inside].sum() / n
            total += n * (rate - (w * s)[inside].sum() / n) ** 2
            total -= n * rate * (1 - rate) / (n - 1) if n > 1 else 0
    return max(total / w.sum(), 0) ** 0.5


def oracle(s, y, w, threshold):
    """Metrics by scikit-learn; `s` float32, everything else in float64."""
    sklearn.set_config(skip_parameter_validation=True)
    positive = s >= np.float32(threshold)
    s = s.astype(np.float64)
    (tn, fp), (fn, tp) = sk.confusion_matrix(y, positive, sample_weight=w, labels=[0, 1])
    both = w[y == 0].sum() > 0 and w[y == 1].sum() > 0
    with np.errstate(divide="ignore"):
        log_loss = -np.where(y == 1, np.maximum(np.log(s), -100), np.maximum(np.log1p(-s), -100))
    return {
        "auc": sk.roc_auc_score(y, s, sample_weight=w) if both else np.nan,
        "auprc": sk.average_precision_score(y, s, sample_weight=w)
        if w[y == 1].sum() > 0
        else np.nan,
        "acc": sk.accuracy_score(y, positive, sample_weight=w),
        "balanced_acc": (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2,
        "f1": sk.f1_score(y, positive, sample_weight=w) if tp + fp + fn else np.nan,
        "tpr": ratio(tp, tp + fn),
        "tnr": ratio(tn, tn + fp),
        "fpr": ratio(fp, tn + fp),
        "fnr": ratio(fn, tp + fn),
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "selection_rate": (tp + fp) / w.sum(),
        "bce": (w * log_loss).sum() / w.sum(),
        "brier": sk.brier_score_loss(y, s, sample_weight=w),
        "ece": expected_calibration_error(s, y, w),
        "ece_debiased": debiased_calibration_error(s, y, w),
        "net_benefit": (tp - fp * threshold / (1 - threshold)) / w.sum(),
    }


def test_every_metric_has_an_oracle():
    scores, labels, _ = make(0)
    oracles = set(oracle(scores, labels, np.ones(N), 0.5))
    assert oracles <= set(ALL)
    without = set(METRICS) - oracles - held("metric")
    assert not without, (
        f"no oracle for {without}: add them to `oracle`, or mark their test as its row"
    )


def make(seed, n=N, grid=None, share=0.4):
    """Scores, labels and four overlapping subgroups: everybody, two groups, and some of both."""
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.random(n - 2) < share).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(labels - 0.5)))
    if grid:
        scores = np.round(scores * grid) / grid  # ties, and scores of exactly 0 and 1
    group = rng.random(n) < 0.3
    return (
        scores.astype(np.float32),
        labels,
        np.stack([np.ones(n, bool), group, ~group, rng.random(n) < 0.5]),
    )


def make_weights(kind, seed, n):
    rng = np.random.default_rng([seed, 1])
    return {
        "ones": np.ones(n),
        "multiplicities": np.bincount(rng.integers(0, n, n), minlength=n),
        "real": rng.random(n) * (rng.random(n) < 0.8),
    }[kind].astype(np.float32)


def check(scores, labels, membership, weights, threshold):
    subgroups = Subgroups.build(labels, membership)
    got = compute(subgroups, scores, np.float32(threshold), weights[:, None])
    for c, member in enumerate(membership):
        w = weights[member].astype(np.float64)
        if w.sum() == 0:
            assert all(np.isnan(got[name][c, 0]) for name in ALL)
            continue
        for name, value in oracle(scores[member], labels[member], w, threshold).items():
            scale = max(1, abs(value))
            power = 2 if name == "ece_debiased" else 1  # a root loses digits where it is near 0
            np.testing.assert_allclose(
                got[name][c, 0] ** power,
                value**power,
                rtol=0,
                atol=TOLERANCE * scale,
                err_msg=f"{name}, subgroup {c}",
            )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    grid=st.sampled_from([None, 1, 2, 10, 100]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    kind=st.sampled_from(["ones", "multiplicities", "real"]),
    threshold=st.sampled_from([0.0, 0.1, 0.5, 0.7, 0.99]),
)
def test_metrics_equal_scikit_learn_on_the_same_weights(seed, grid, share, kind, threshold):
    scores, labels, membership = make(seed, grid=grid, share=share)
    check(scores, labels, membership, make_weights(kind, seed, N), threshold)


@pytest.mark.parametrize("kind", ["multiplicities", "real"])
@pytest.mark.parametrize("grid", [None, 100])
def test_metrics_equal_scikit_learn_over_many_blocks(kind, grid):
    scores, labels, membership = make(3, n=2500, grid=grid, share=0.2)
    check(scores, labels, membership, make_weights(kind, 3, 2500), 0.37)


def test_replicates_and_runs_are_independent_axes():
    runs = [make(seed)[0] for seed in range(3)]
    _, labels, membership = make(0)
    weights = np.stack([make_weights("multiplicities", seed, N) for seed in range(4)], 1)
    thresholds = np.float32([0.3, 0.5, 0.6])
    subgroups = Subgroups.build(labels, membership)
    layouts = jax.jit(jax.vmap(partial(prepare, metrics=ALL), (None, 0, 0)))(
        subgroups, jnp.stack(runs), thresholds
    )
    together = jax.jit(jax.vmap(evaluate, (None, 0, None)))(subgroups, layouts, weights)
    for r in range(3):
        for b in range(4):
            alone = compute(subgroups, runs[r], thresholds[r], weights[:, b : b + 1])
            for name in ALL:
                np.testing.assert_allclose(
                    together[name][r, :, b], alone[name][:, 0], 1e-5, 1e-6, err_msg=name
                )


@pytest.mark.row("metric", "calibration_slope", "calibration_intercept")
@pytest.mark.parametrize(("n", "shift", "spread"), [(500, 0, 1), (500, -3, 0.4), (500, 1, 3)])
@pytest.mark.parametrize("kind", ["ones", "multiplicities", "real"])
def test_recalibration_equals_logistic_regression_on_log_odds(n, shift, spread, kind):
    rng = np.random.default_rng(3)
    _, labels, membership = make(5, n=n)
    scores = (1 / (1 + np.exp(-spread * rng.normal(0.8 * labels, 1) - shift))).astype(np.float32)
    weights = make_weights(kind, 5, n)
    got = compute(
        Subgroups.build(labels, membership),
        scores,
        np.float32(0.5),
        weights[:, None],
        RECALIBRATION,
    )
    log_odds = np.log(scores, dtype=np.float64) - np.log1p(-scores, dtype=np.float64)
    for c, member in enumerate(membership):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(log_odds[member, None], labels[member], sample_weight=weights[member])
        np.testing.assert_allclose(got["calibration_slope"][c, 0], model.coef_[0, 0], 1e-4, 1e-5)
        np.testing.assert_allclose(
            got["calibration_intercept"][c, 0], model.intercept_[0], 1e-4, 1e-5
        )


@pytest.mark.parametrize(
    "scores", [np.linspace(0.1, 0.9, 20), np.full(20, 0.3), np.repeat([0.0, 1.0], 10)]
)
def test_there_is_no_recalibration_of_separated_or_constant_scores(scores):
    labels, ones = np.repeat([0, 1], 10), np.ones((20, 1), np.float32)
    got = compute(
        Subgroups.build(labels, ones.T),
        scores.astype(np.float32),
        np.float32(0.5),
        ones,
        RECALIBRATION,
    )
    assert all(np.isnan(got[name][0, 0]) for name in RECALIBRATION)


def test_weight_tallies_are_the_cells_counts():
    scores, labels, membership = make(1)
    weights = make_weights("multiplicities", 1, N)
    got = compute(Subgroups.build(labels, membership), scores, np.float32(0.5), weights[:, None])
    np.testing.assert_array_equal(got["n"][:, 0], membership @ weights)
    np.testing.assert_array_equal(got["n_positive"][:, 0], membership @ (weights * labels))


def test_samples_in_no_cell_and_samples_of_weight_zero_change_nothing():
    scores, labels, membership = make(2)
    plain = compute(
        Subgroups.build(labels, membership), scores, np.float32(0.5), np.ones((N, 1), np.float32)
    )
    more = np.concatenate([scores, np.float32([0.1, 0.9, 0.9])]), np.append(labels, [0, 1, 0])
    padded = np.pad(membership, ((0, 0), (0, 3)))
    unused = compute(
        Subgroups.build(more[1], padded), more[0], np.float32(0.5), np.ones((N + 3, 1), np.float32)
    )
    padded[:, -3:] = True
    zero = np.append(np.ones(N), np.zeros(3))[:, None].astype(np.float32)
    weightless = compute(Subgroups.build(more[1], padded), more[0], np.float32(0.5), zero)
    for name in ALL:
        np.testing.assert_allclose(unused[name], plain[name], atol=1e-6)
        if name != "ece_debiased":  # its bins hold equal numbers of samples, whatever they weigh
            np.testing.assert_allclose(weightless[name], plain[name], atol=1e-6)


def test_a_threshold_equal_to_a_score_predicts_positive():
    labels, scores = np.array([0, 0, 1, 1]), np.float32([0.1, 0.4, 0.4, 0.8])
    got = compute(
        Subgroups.build(labels, np.ones((1, 4))),
        scores,
        np.float32(0.4),
        np.ones((4, 1), np.float32),
    )
    assert got["tpr"][0, 0] == 1
    assert got["tnr"][0, 0] == 0.5


def test_scores_of_zero_and_one_cost_at_most_one_hundred_each():
    labels, scores = np.array([0, 1, 0, 1]), np.float32([1, 0, 0, 1])
    got = compute(
        Subgroups.build(labels, np.ones((1, 4))),
        scores,
        np.float32(0.5),
        np.ones((4, 1), np.float32),
    )
    assert got["bce"][0, 0] == 50
    assert got["auc"][0, 0] == 0.5


def test_constant_scores_say_nothing():
    labels = np.arange(40) % 2
    got = compute(
        Subgroups.build(labels, np.ones((1, 40))),
        np.full(40, 0.3, np.float32),
        np.float32(0.5),
        np.ones((40, 1)),
    )
    assert got["auc"][0, 0] == 0.5
    assert got["auprc"][0, 0] == 0.5
    assert got["ece"][0, 0] == pytest.approx(0.2, abs=1e-6)


def test_one_class_leaves_only_what_needs_both_undefined():
    labels, scores = np.ones(5, int), np.linspace(0.1, 0.9, 5, dtype=np.float32)
    got = compute(
        Subgroups.build(labels, np.ones((1, 5))),
        scores,
        np.float32(0.5),
        np.ones((5, 1), np.float32),
    )
    undefined = {name for name in ALL if np.isnan(got[name][0, 0])}
    assert undefined == {"auc", "balanced_acc", "tnr", "fpr"}


def test_two_samples_and_an_empty_cell():
    labels, scores = np.array([0, 1]), np.float32([0.2, 0.7])
    got = compute(
        Subgroups.build(labels, np.array([[1, 1], [0, 0]])),
        scores,
        np.float32(0.5),
        np.ones((2, 1), np.float32),
    )
    assert got["auc"][0, 0] == got["acc"][0, 0] == 1
    assert all(np.isnan(got[name][1, 0]) for name in ALL)


def test_float64_scores_are_compared_as_float64():
    labels, scores = np.array([0, 1, 0, 1]), 0.5 + 1e-12 * np.arange(4)
    subgroups = Subgroups.build(labels, np.ones((1, 4)))
    with jax.enable_x64(True):
        layout = jax.jit(prepare, static_argnums=3)(subgroups, scores, scores[2], CLASSIFICATION)
    got = jax.jit(evaluate)(subgroups, layout, np.ones((4, 1), np.float32))
    assert got["auc"][0, 0] == 0.75
    assert got["tpr"][0, 0] == got["tnr"][0, 0] == 0.5


@pytest.mark.parametrize(
    ("labels", "membership"), [([0, 1, 2], np.ones((1, 3))), ([0, 1], np.ones((1, 3)))]
)
def test_a_wrong_label_or_shape_is_refused(labels, membership):
    with pytest.raises((ValueError, TypeError), match=r"labels|samples"):
        Subgroups.build(np.array(labels), membership)
