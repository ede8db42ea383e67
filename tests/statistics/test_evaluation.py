"""The table of results: its numbers against scikit-learn, on what they depend, and what it says
where there are none."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.made_up_scores import N_BOOT, evaluate, make
from helpers.processes import devices, run_python
from scipy import stats
from sklearn import metrics as sk

from fairjax.metrics import evaluate as per_weights
from fairjax.metrics.subgroups import Subgroups
from fairjax.metrics.table import CLASSIFICATION
from fairjax.statistics import evaluation
from fairjax.statistics.bootstrap import Resampling, replicate_weights
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.statistics.intervals import expanded
from fairjax.statistics.replicates import (
    Chunks,
    Draws,
    plan_chunks,
    replicate_values,
    sample_values,
)
from fairjax.utils.errors import UserError


def pick(table, **where):
    keep = np.all([table[column] == value for column, value in where.items()], axis=0)
    return {column: values[keep] for column, values in table.items()}


def assert_same(a, b, atol=1e-6, columns=("value", "ci_low", "ci_high", "n_invalid")):
    for column in columns:
        np.testing.assert_allclose(a[column], b[column], atol=atol, err_msg=column)


def test_every_replicate_equals_scikit_learn_on_its_weights():
    scores, labels, attributes, patients = make()
    member = np.stack([np.ones(labels.size, bool), attributes["sex"][0] == 1])
    subgroups, resampling = Subgroups.build(labels, member), Resampling.build(labels.size, patients)
    ones, thresholds = np.ones(labels.size, np.float32), np.float32([0.4, 0.5, 0.6])
    names = ("auc", "acc", "brier")
    options = {"weights": ones, "metrics": names, "seed": 4, "chunks": Chunks(2, 8)}
    draws = [Draws(resampling, 20)]
    chunks = replicate_values(subgroups, scores, thresholds, draws, **options)
    replicates = np.concatenate([values for (values,) in chunks], axis=2)
    point = sample_values(subgroups, scores, thresholds, ones, names)
    assert replicates.shape == (3, 2, 3, 20)
    weights = np.asarray(replicate_weights(resampling, 4, jnp.arange(20)))
    for values, w_nb in ((point[..., None], ones[:, None]), (replicates, weights)):
        for c in range(2):
            for r in range(3):
                for b in range(w_nb.shape[1]):
                    y, s, w = (
                        labels[member[c]],
                        scores[r, member[c]].astype(float),
                        w_nb[member[c], b],
                    )
                    expected = (
                        sk.roc_auc_score(y, s, sample_weight=w),
                        sk.accuracy_score(
                            y, scores[r, member[c]] >= thresholds[r], sample_weight=w
                        ),
                        sk.brier_score_loss(y, s, sample_weight=w),
                    )
                    np.testing.assert_allclose(values[:, c, r, b], expected, atol=2e-6)


def test_values_and_contrasts_are_those_of_the_groups():
    scores, labels, attributes, _ = make()
    table = evaluate(scores, labels, attributes)
    for r in range(3):
        by_group = {}
        for code, name in enumerate(attributes["age"][1]):
            member = attributes["age"][0] == code
            by_group[name] = sk.roc_auc_score(labels[member], scores[r, member])
        of_age = pick(table, run=r, attribute="age", metric="auc")
        got = dict(zip(of_age["group"], of_age["value"], strict=True))
        expected = {
            **by_group,
            "overall": sk.roc_auc_score(
                labels[attributes["age"][0] >= 0], scores[r, attributes["age"][0] >= 0]
            ),
            "gap": max(by_group.values()) - min(by_group.values()),
            "worst": min(by_group.values()),
            "<40 − 40-59": by_group["<40"] - by_group["40-59"],
            "<40 − ≥60": by_group["<40"] - by_group["≥60"],
            "40-59 − ≥60": by_group["40-59"] - by_group["≥60"],
        }
        assert got.keys() == {*expected, "gap_corrected"}
        assert 0 <= got["gap_corrected"] < got["gap"]
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, abs=2e-6)
    loss = pick(table, run=0, attribute="sex", metric="bce")
    got = dict(zip(loss["group"], loss["value"], strict=True))
    assert got["worst"] == max(got["female"], got["male"])


def test_counts_are_of_samples_and_of_positives():
    scores, labels, attributes, _ = make()
    table = pick(evaluate(scores, labels, attributes), run=1, metric="acc")
    rows = dict(zip(zip(table["attribute"], table["group"]), zip(table["n"], table["n_positive"])))
    male = attributes["sex"][0] == 1
    assert rows["all", "overall"] == (labels.size, labels.sum())
    assert rows["sex", "male"] == (male.sum(), labels[male].sum())
    known = attributes["age"][0] >= 0
    assert rows["age", "overall"] == rows["age", "gap"] == (known.sum(), labels[known].sum())


@pytest.mark.parametrize("memory_bytes", [1, 2_000_000])
def test_results_do_not_depend_on_chunks(memory_bytes):
    data = make()
    assert_same(
        evaluate(*data[:3], patients=data[3]),
        evaluate(*data[:3], patients=data[3], memory_bytes=memory_bytes),
    )


def test_results_do_not_depend_on_how_many_cells_are_evaluated_together(monkeypatch):
    scores, labels, attributes, patients = make()
    together = evaluate(scores, labels, attributes, patients=patients, interval="bca")
    monkeypatch.setattr(evaluation, "_ENTRIES_AT_ONCE", len(labels) // 3)
    assert_same(evaluate(scores, labels, attributes, patients=patients, interval="bca"), together)


def test_results_do_not_depend_on_the_other_runs():
    scores, labels, attributes, patients = make()
    thresholds = np.float32([0.3, 0.4, 0.5])
    together = evaluate(scores, labels, attributes, thresholds, patients)
    alone = evaluate(scores[2:3], labels, attributes, thresholds[2:3], patients)
    assert_same(pick(together, run=2), alone)


def test_runs_are_paired_by_the_same_draws():
    scores, labels, attributes, _ = make()
    scores[1] = scores[0]
    table = evaluate(scores, labels, attributes)
    assert_same(pick(table, run=0), pick(table, run=1), atol=0)


def test_seed_confidence_and_patients_matter():
    scores, labels, attributes, _ = make(n_runs=1)
    width = {}
    for name, options in {
        "plain": {},
        "seed": {"seed": 1},
        "narrow": {"confidence": 0.5},
        "patients": {"patients": np.arange(labels.size) // 15},
    }.items():
        row = pick(evaluate(scores, labels, attributes, **options), attribute="all", metric="auc")
        width[name] = float((row["ci_high"] - row["ci_low"])[0])
    assert width["narrow"] < 0.5 * width["plain"]
    assert width["seed"] != width["plain"]
    assert width["patients"] != width["plain"]


def test_intervals_are_about_the_values():
    scores, labels, attributes, patients = make()
    table = evaluate(scores, labels, attributes, patients=patients)
    numbers = pick(table, status="ok")
    keep = numbers["group"] != "gap_corrected"  # it carries the interval of the gap
    for end, sign in (("ci_low", 1), ("ci_high", -1)):
        assert (sign * (numbers["value"] - numbers[end])[keep] >= -1e-9).all()


def test_the_interval_of_a_calibration_error_is_as_wide_as_its_replicates_spread_and_lies_about_it():
    scores, labels, _, _ = make()
    row = pick(evaluate(scores[:1], labels, {}, n_boot=400), attribute="all", metric="ece")
    resampling = Resampling.build(labels.size)
    numbers = np.arange(400)
    subgroups = Subgroups.build(labels, np.ones((1, labels.size)))
    layout = per_weights.prepare(subgroups, scores[0], np.float32(0.5), ("ece",))
    draws = np.asarray(
        per_weights.evaluate(subgroups, layout, replicate_weights(resampling, 0, numbers))["ece"]
    )[0]
    level = expanded(0.95, np.bincount(labels).min())
    low, high = (
        np.quantile(draws, ((1 - level) / 2, (1 + level) / 2)) - draws.mean() + row["value"][0]
    )
    assert draws.mean() > row["value"][0]  # the bias that is taken out
    assert row["ci_low"][0] == pytest.approx(max(low, 0), abs=1e-5)
    assert row["ci_high"][0] == pytest.approx(high, abs=1e-5)


def test_without_replicates_there_are_values_and_no_intervals():
    table = evaluate(*make()[:3], n_boot=0)
    assert np.isfinite(pick(table, group="gap")["value"]).all()
    assert np.isnan(table["ci_low"]).all()
    assert np.isnan(table["ci_high"]).all()
    assert (table["n_invalid"] == 0).all()


def test_groups_without_enough_patients_are_listed_with_the_reason_and_left_out():
    scores, labels, _, _ = make(n_runs=1)
    codes = np.zeros(labels.size, int)
    codes[np.flatnonzero(labels == 0)[:9]] = 1
    codes[np.flatnonzero(labels == 1)[:9]] = 2
    codes[np.flatnonzero(labels == 1)[9:12]] = 3
    codes[np.flatnonzero(labels == 0)[9:29]] = 3
    codes[np.flatnonzero(labels == 0)[29:39]] = 4
    codes[np.flatnonzero(labels == 1)[12:22]] = 4
    names = ["a", "no positives", "no negatives", "few", "b", "empty"]
    table = pick(
        evaluate(scores, labels, {"group": (codes, names)}, min_group=5),
        attribute="group",
        metric="acc",
    )
    status = dict(zip(table["group"], table["status"], strict=True))
    assert status["no positives"] == "no positives"
    assert status["no negatives"] == "no negatives"
    assert status["few"] == "3 positive patients, fewer than 5"
    assert status["empty"] == "no samples"
    assert status["a"] == status["b"] == status["a − b"] == "ok"
    assert status["gap"] == "without no positives, no negatives, few, empty"
    assert sum(" − " in group for group in status) == 1
    value = dict(zip(table["group"], table["value"], strict=True))
    assert np.isnan([value[name] for name in names if name not in "ab"]).all()
    assert value["gap"] == pytest.approx(abs(value["a"] - value["b"]))


def test_min_group_counts_patients_not_images():
    scores, labels, attributes, _ = make(n_runs=1)
    table = evaluate(scores, labels, attributes, patients=np.arange(labels.size) // 30, min_group=5)
    assert (
        pick(table, group="male", metric="acc")["status"][0] == "3 negative patients, fewer than 5"
    )
    assert (
        pick(table, attribute="sex", group="gap", metric="acc")["status"][0]
        == "fewer than 2 groups without female, male"
    )


def test_undefined_replicates_are_counted():
    labels, scores = np.array([0] * 30 + [1]), np.linspace(0, 1, 31, dtype=np.float32)[None]
    row = pick(evaluate(scores, labels, {}, n_boot=500), metric="auc")
    assert 0.25 < row["n_invalid"][0] / 500 < 0.48  # (1 − 1/31)^31 = 0.36
    assert row["value"] == row["ci_high"] == 1
    assert row["ci_low"] == pytest.approx(
        0.025
    )  # of one positive that is found, the exact interval of a share
    assert pick(evaluate(scores, labels, {}), metric="acc")["n_invalid"] == 0


def test_one_class_has_a_table_all_the_same():
    row = pick(evaluate(np.array([[0.2, 0.7]], np.float32), np.array([1, 1]), {}), metric="auc")
    assert np.isnan(row["value"])
    assert row["n_invalid"] == N_BOOT
    assert row["status"] == "undefined: a denominator is 0"


def test_two_samples_are_enough_to_run():
    table = evaluate(
        np.array([[0.2, 0.7]]), np.array([0, 1]), {"g": (np.array([0, 1]), ["a", "b"])}
    )
    assert pick(table, attribute="all", metric="auc")["value"] == 1
    assert pick(table, group="a", metric="auc")["status"] == "no positives"


def test_a_run_that_diverged_has_a_status_and_harms_no_other():
    scores, labels, attributes, _ = make()
    table = evaluate(scores, labels, attributes)
    scores[1, 3] = np.nan
    broken = evaluate(scores, labels, attributes)
    for r in (0, 2):
        assert_same(pick(broken, run=r), pick(table, run=r), atol=0)
    assert set(pick(broken, run=1)["status"]) == {"scores or threshold are not finite"}
    assert np.isnan(pick(broken, run=1)["value"]).all()
    assert np.isnan(pick(evaluate(scores[:1], labels, {}, np.nan), metric="acc")["value"]).all()


def test_many_groups_are_compared_with_the_overall_value():
    scores, labels, _, _ = make(n_runs=1, n=400)
    names = [f"site {i}" for i in range(8)]
    table = evaluate(scores, labels, {"site": (np.arange(400) % 8, names)}, min_group=1)
    of_auc = pick(table, attribute="site", metric="auc")
    value = dict(zip(of_auc["group"], of_auc["value"], strict=True))
    assert [group for group in value if " − " in group] == [f"{name} − overall" for name in names]
    assert value["site 3 − overall"] == pytest.approx(value["site 3"] - value["overall"])


def test_a_thousand_groups_are_evaluated():
    scores, labels, _, _ = make(n_runs=1, n=5000)
    table = evaluate(
        scores,
        labels,
        {"site": (np.arange(5000) % 1000, list(map(str, range(1000))))},
        min_group=1,
        n_boot=8,
    )
    of_acc = pick(table, metric="acc", status="ok")
    assert len(of_acc["run"]) > 1500
    member = np.arange(5000) % 1000 == 17
    got = pick(table, metric="acc", group="17")["value"]
    assert got == pytest.approx(((scores[0, member] >= 0.5) == labels[member]).mean())


def test_sample_weights_multiply_the_draws():
    scores, labels, attributes, _ = make(n_runs=1)
    weights = np.arange(labels.size) % 3
    row = pick(evaluate(scores, labels, attributes, weights=weights), attribute="all", metric="auc")
    assert row["value"] == pytest.approx(
        sk.roc_auc_score(labels, scores[0], sample_weight=weights), abs=2e-6
    )
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_strata_hold_the_prevalence_fixed():
    scores, labels, _, _ = make(n_runs=1)
    free = pick(evaluate(np.ones_like(scores), labels, {}, metrics=("ppv",)), metric="ppv")
    fixed = pick(
        evaluate(np.ones_like(scores), labels, {}, metrics=("ppv",), strata=labels), metric="ppv"
    )
    assert free["ci_low"] < free["ci_high"]
    assert fixed["ci_low"] == fixed["ci_high"] == fixed["value"]


def test_all_metrics_have_rows():
    table = evaluate(*make(n_runs=1)[:3], metrics=CLASSIFICATION, n_boot=4)
    assert set(table["metric"]) == set(CLASSIFICATION)
    assert len({len(column) for column in table.values()}) == 1


def test_a_metric_without_a_better_end_has_no_worst_group():
    table = evaluate(*make(n_runs=1)[:3], metrics=("selection_rate", "tpr"), n_boot=0)
    assert "worst" not in pick(table, metric="selection_rate")["group"]
    assert "worst" in pick(table, metric="tpr")["group"]


def test_progress_counts_runs():
    seen = []
    evaluate(*make()[:3], memory_bytes=1, progress=seen.append)
    assert seen == [1, 1, 1]


def test_chunks_fit_the_budget_and_share_the_runs_evenly():
    chunks = plan_chunks(n_entries=1000, n_runs=100, n_boot=2000, memory_bytes=2**26)
    assert chunks.runs * (8 * chunks.replicates + 32) * 4 * 1000 <= 2**26
    assert -(-100 // chunks.runs) * chunks.runs - 100 < -(-100 // chunks.runs)
    assert plan_chunks(10**8, 100, 2000, memory_bytes=2**20) == Chunks(1, 4)
    assert plan_chunks(10, 2, 7).replicates == 7


def covered(n_runs, n, n_boot, metric, group, truth, shift=(1.0, 1.0)):
    """Share of simulated studies, of one design and with scores of their own, whose interval holds
    the truth.
    """
    rng = np.random.default_rng(5)
    labels, sex = (np.arange(n) % 3 == 0).astype(int), np.arange(n) // 3 % 2
    scores = stats.norm.cdf(rng.normal(labels * np.take(shift, sex), 1, (n_runs, n)) - 0.5)
    attributes = {"sex": (sex, ["f", "m"])}
    table = evaluate_runs(
        scores, labels, attributes, 0.5, n_boot=n_boot, metrics=(metric,), strata=labels
    )
    rows = pick(table, attribute="sex", group=group)
    assert len(rows["run"]) == n_runs
    return ((rows["ci_low"] <= truth) & (truth <= rows["ci_high"])).mean()


def auc(shift):
    return stats.norm.cdf(shift / 2**0.5)


def test_intervals_of_an_absent_gap_hold_zero():
    assert 0.92 < covered(400, 240, 400, "auc", "gap", 0) < 0.98
    assert 0.92 < covered(400, 240, 400, "tpr", "gap", 0) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 500, 2000])
def test_intervals_cover_the_truth_nineteen_times_in_twenty(n):
    unequal = {"shift": (0.7, 1.4)}
    assert 0.93 < covered(2000, n, 1000, "auc", "overall", auc(1.0)) < 0.97
    assert (
        0.93 < covered(2000, n, 1000, "auc", "gap", 0) < 0.98
    )  # of few patients, simultaneous and expanded: cautious
    assert 0.93 < covered(2000, n, 1000, "auc", "gap", auc(1.4) - auc(0.7), **unequal) < 0.98
    assert 0.93 < covered(2000, n, 1000, "auc", "f − m", auc(0.7) - auc(1.4), **unequal) < 0.97
    assert covered(2000, n, 1000, "auc", "worst", auc(0.7), **unequal) > 0.93


EIGHT_DEVICES = """
import jax
from helpers.made_up_scores import evaluate, make
print(len(jax.local_devices()), *evaluate(*make()[:3])["ci_low"].tolist())
"""


def test_devices_share_the_replicates():
    n_devices, *low = map(float, run_python(EIGHT_DEVICES, **devices(8)).split())
    assert n_devices == 8
    np.testing.assert_allclose(low, evaluate(*make()[:3])["ci_low"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.full((1, 90), 1.5)}, "probabilities"),
        ({"scores": np.zeros((1, 89))}, "89 scores"),
        ({"labels": np.arange(90)}, "labels must be 0 or 1"),
        ({"attributes": {"sex": (np.zeros(3, int), ["a"])}}, "'sex' has 3 values"),
        ({"attributes": {"sex": (np.ones(90, int), ["a"])}}, "codes must be"),
        ({"attributes": {"sex": (np.zeros(90, int), ["gap", "b"])}}, "'gap' is the name of a row"),
        ({"metrics": ("aucc",)}, "unknown metric 'aucc'; did you mean 'auc'"),
    ],
)
def test_wrong_input_is_named(change, message):
    scores, labels, attributes, _ = make(n_runs=1)
    with pytest.raises(UserError, match=message):
        evaluate(**{"scores": scores, "labels": labels, "attributes": attributes, **change})
