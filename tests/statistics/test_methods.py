"""Methods against a baseline: every number against NumPy and scikit-learn, what is paired with
what, and coverage.
"""

from __future__ import annotations

import gc

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from fairjax.report import console_methods
from fairjax.report.format import signed
from fairjax.statistics.bootstrap import Resampling, replicate_weights
from fairjax.statistics.evaluation import Evaluation, evaluate_runs
from fairjax.statistics.intervals import expanded
from fairjax.statistics.methods import compare_methods, harm
from fairjax.statistics.paired import Mean
from fairjax.utils.errors import UserError

N, N_BOOT = 160, 24
NAMES = {"sex": ["female", "male"], "age": ["<40", "40-59", "≥60"]}
METRICS = ("auc", "tpr", "bce")
KEYS = ["usage", "method", "sensitive", "attribute", "metric", "group"]


def make(methods=("erm", "dro"), n_seeds=3, n=N, seed=0):
    """Scores by run, the table of runs, and who is in the sample."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    attributes = {name: (rng.integers(0, len(of), n), of) for name, of in NAMES.items()}
    noise, table, scores = rng.normal(size=n), [], {}
    for method in methods:
        for number in range(n_seeds):
            run_id = f"{method}-{number}"
            table.append((run_id, "linear_probe", method, "" if method == "erm" else "sex", number))
            logit = labels * rng.normal(1.4, 0.3) - 0.6 + noise + rng.normal(0, 0.4, n)
            scores[run_id] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    columns = ["run_id", "usage", "method", "sensitive", "seed"]
    return (
        scores,
        pd.DataFrame(table, columns=columns),
        labels,
        attributes,
        rng.integers(0, n // 2, n),
    )


def chunked(scores, width=4, order=1):
    names = list(scores)[::order]
    return [
        (
            names[start : start + width],
            np.stack([scores[name] for name in names[start : start + width]]),
        )
        for start in range(0, len(names), width)
    ]


def compare(data, **options):
    scores, table, *sample = data
    return compare_methods(
        options.pop("chunks", chunked(scores)),
        options.pop("table", table),
        *sample[:2],
        options.pop("thresholds", 0.5),
        *sample[2:],
        **{"metrics": METRICS, "n_boot": N_BOOT, "min_group": 2, **options},
    )


@pytest.fixture(scope="module")
def data():
    return make()


@pytest.fixture(scope="module")
def frame(data):
    return compare(data)


def direct(scores, labels, attributes, w):
    """AUC of everybody, of each group, its gap and the worst, with weights w, by scikit-learn."""
    found = {("all", "overall"): sk.roc_auc_score(labels, scores, sample_weight=w)}
    for attribute, (codes, names) in attributes.items():
        by_group = {
            name: sk.roc_auc_score(
                labels[codes == code], scores[codes == code], sample_weight=w[codes == code]
            )
            for code, name in enumerate(names)
        }
        found |= {(attribute, "overall"): found["all", "overall"]}
        found |= {(attribute, name): value for name, value in by_group.items()}
        found[attribute, "gap"] = max(by_group.values()) - min(by_group.values())
        found[attribute, "worst"] = min(by_group.values())
    return found


def test_every_number_equals_numpy_and_scikit_learn_on_the_same_draws(data, frame):
    scores, _, labels, attributes, patients = data
    weights = np.asarray(replicate_weights(Resampling.build(N, patients), 0, jnp.arange(N_BOOT)))
    sample = {name: direct(of, labels, attributes, np.ones(N)) for name, of in scores.items()}
    draws = {
        name: [direct(of, labels, attributes, w) for w in weights.T] for name, of in scores.items()
    }
    order = np.random.default_rng([0, 3]).permutation(N_BOOT)
    t = stats.t(2).ppf((order + 0.5) / N_BOOT)
    codes = {("all", "overall"): np.ones(N, bool)}
    codes |= {
        (a, name): c == code
        for a, (c, names) in attributes.items()
        for code, name in enumerate(names)
    }
    for (attribute, group), row in (
        frame[frame["metric"] == "auc"].query("method == 'dro'").groupby(["attribute", "group"])
    ):
        row, key = row.iloc[0], (attribute, group)
        values = {m: np.array([sample[f"{m}-{s}"][key] for s in range(3)]) for m in ("dro", "erm")}
        replicates = {
            m: np.mean([[draw[key] for draw in draws[f"{m}-{s}"]] for s in range(3)], axis=0)
            for m in ("dro", "erm")
        }
        assert row["value"] == pytest.approx(values["dro"].mean(), abs=2e-6)
        paired = values["dro"] - values["erm"]
        assert row["difference"] == pytest.approx(paired.mean(), abs=2e-6)
        groups = attributes[attribute][1] if group in ("gap", "worst") else [group]
        of = [codes[attribute, name] if name != "overall" else np.ones(N, bool) for name in groups]
        n_patients = min(
            np.unique(patients[member & (labels == y)]).size for member in of for y in (0, 1)
        )
        level = expanded(0.95, np.array(n_patients))
        error = replicates["dro"] - replicates["erm"]
        if group in ("gap", "worst"):
            error = error - error.mean() + paired.mean()
        error = error + paired.std(ddof=1) / np.sqrt(3) * t
        low, high = np.quantile(error, ((1 - level) / 2, (1 + level) / 2))
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(
            (low, high), abs=5e-6
        )
        p_value = min(2 * (1 + min((error <= 0).sum(), (error >= 0).sum())) / (1 + N_BOOT), 1)
        assert row["p_value"] == pytest.approx(p_value)
        of_seeds = values["dro"].std(ddof=1) / np.sqrt(3) * t
        if group not in ("gap", "worst"):
            ends = np.quantile(replicates["dro"] + of_seeds, ((1 - level) / 2, (1 + level) / 2))
        else:
            names = attributes[attribute][1]
            reach = []
            for s in range(3):
                errors = np.array(
                    [
                        [draw[attribute, g] - sample[f"dro-{s}"][attribute, g] for g in names]
                        for draw in draws[f"dro-{s}"]
                    ]
                )
                reach.append(np.ptp(errors, axis=1) if group == "gap" else np.abs(errors).max(1))
            q = np.quantile(np.abs(np.mean(reach, axis=0) + of_seeds), level)
            ends = (values["dro"].mean() - q, values["dro"].mean() + q)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(np.clip(ends, 0, 1), abs=5e-6)
    assert (frame["n_seeds"] == 3).all()


def test_with_one_seed_the_intervals_are_those_of_one_run(data):
    scores, table, labels, attributes, patients = data
    one = compare(data, table=table[table["seed"] == 1])
    names = ["erm-1", "dro-1"]
    both = np.stack([scores[name] for name in names])
    options = {"metrics": METRICS, "n_boot": N_BOOT, "min_group": 2}
    alone = pd.DataFrame(evaluate_runs(both, labels, attributes, 0.5, patients, **options))
    alone["method"] = alone["run"].map({0: "erm", 1: "dro"})
    keys = ["method", "attribute", "metric", "group"]
    joined = one.merge(alone, on=keys, suffixes=("", "_alone"), validate="1:1")
    assert len(joined) == len(one)
    for column in ("value", "ci_low", "ci_high", "n", "n_positive"):
        np.testing.assert_allclose(
            joined[column], joined[f"{column}_alone"], atol=1e-6, err_msg=column
        )
    paired = Evaluation(labels, attributes, N, patients, **options).evaluate_and_compare(
        both, 0.5, [(1, 0)]
    )[1]
    of_cells = one.query("method == 'dro'").merge(
        pd.DataFrame(paired), on=keys[1:], suffixes=("", "_pair")
    )
    assert len(of_cells) == len(METRICS) * (1 + 3 + 4)
    for column, other in {
        "difference": "value",
        "difference_low": "ci_low",
        "difference_high": "ci_high",
    }.items():
        np.testing.assert_allclose(
            of_cells[column], of_cells[f"{other}_pair"], atol=1e-6, err_msg=column
        )
    np.testing.assert_allclose(of_cells["p_value"], of_cells["p_value_pair"])


def test_the_report_reads_the_frame(frame):
    text = console_methods(frame)
    for row in frame.query(
        "metric == 'auc' and group in ('overall', 'worst', 'gap') and attribute == 'sex'"
    ).itertuples():
        assert f"{row.value:.3f} [" in text
        assert (
            row.method == "erm" or f"{signed(row.difference)} [{signed(row.difference_low)}" in text
        )


@pytest.mark.parametrize(("width", "order"), [(1, 1), (100, -1)])
def test_chunks_and_their_order_change_nothing(data, frame, width, order):
    again = compare(data, chunks=chunked(data[0], width, order))
    pd.testing.assert_frame_equal(again, frame, atol=1e-5)


def test_the_baseline_has_no_difference_and_an_equal_method_one_of_zero(data):
    scores, table, *sample = data
    same = {name.replace("erm", "twin"): of for name, of in scores.items() if "erm" in name}
    twins = table[table["method"] == "erm"].assign(
        method="twin", run_id=lambda t: t["run_id"].str.replace("erm", "twin")
    )
    both = compare((scores | same, pd.concat([table, twins]), *sample))
    assert (
        both.query("method == 'erm'")[["difference", "difference_low", "p_value"]]
        .isna()
        .all(axis=None)
    )
    twin = both.query("method == 'twin'")
    assert (twin[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert (twin["p_value"] == 1).all()


def test_only_seeds_that_both_have_are_paired_and_every_seed_counts_for_the_value(data, frame):
    table = data[1][data[1]["run_id"] != "erm-0"]
    rows = compare(data, table=table).set_index(KEYS).sort_index()
    whole = frame.set_index(KEYS).sort_index()
    assert (rows.xs("dro", level="method")["n_seeds"] == 2).all()
    pd.testing.assert_series_equal(
        rows.xs("dro", level="method")["value"], whole.xs("dro", level="method")["value"]
    )
    of_two = compare(data, table=table[table["seed"] > 0]).set_index(KEYS).sort_index()
    for column in ("difference", "difference_low", "p_value"):
        np.testing.assert_allclose(rows[column], of_two[column], atol=1e-6)


def test_the_baseline_is_of_the_same_usage_and_of_the_same_attribute_if_there_is_one(data):
    scores, table, *sample = data
    other = table.assign(usage="zero_shot")[table["method"] == "dro"].assign(
        run_id=lambda t: "z" + t["run_id"]
    )
    more = {f"z{name}": of for name, of in scores.items()}
    told = table[table["method"] == "erm"].assign(
        sensitive="sex", run_id=lambda t: "z" + t["run_id"]
    )
    frame = compare((scores | more, pd.concat([table, other, told]), *sample))
    assert frame.query("usage == 'zero_shot'")["difference"].isna().all()
    assert frame.query("usage == 'linear_probe' and method == 'dro'")["difference"].notna().all()
    assert frame.query("method == 'erm'")["difference"].isna().all()
    shifted = {f"zerm-{s}": np.float32(scores[f"erm-{s}"] * 0.5) for s in range(3)}
    frame = compare((scores | shifted, pd.concat([table, told]), *sample), n_boot=0)
    loss = frame[(frame["metric"] == "bce") & (frame["attribute"] == "all")].set_index(
        ["method", "sensitive"]
    )
    assert loss.loc[("dro", "sex"), "difference"] == pytest.approx(
        loss.loc[("dro", "sex"), "value"] - loss.loc[("erm", "sex"), "value"]
    )


def test_replicates_are_let_go_once_a_method_is_compared():
    scores, table, *sample = make(("erm", *(f"m{i:02}" for i in range(15))), n_seeds=4, n=40)
    held = []

    def chunks():
        for chunk in chunked(scores, 16):
            held.append(
                sum(isinstance(thing, Mean) and bool(thing.samples) for thing in gc.get_objects())
            )
            yield chunk

    compare((scores, table, *sample), chunks=chunks(), metrics=("acc",), n_boot=2, min_group=1)
    assert len(held) == 4
    assert max(held) <= 1 + 2  # the baseline, and the last method that the loop has seen


def test_settings_of_the_table_are_carried_and_must_be_the_same_for_all_seeds(data):
    table = data[1].assign(
        strength=np.where(data[1]["method"] == "erm", np.nan, 10.0), learning_rate=1e-3
    )
    frame = compare(data, table=table, n_boot=0)
    assert (frame.query("method == 'dro'")["strength"] == 10).all()
    assert frame.query("method == 'erm'")["strength"].isna().all()
    assert "weight_decay" not in frame
    with pytest.raises(UserError, match="differ in 'learning_rate'"):
        compare(data, table=table.assign(learning_rate=table["seed"] + 1.0))


def test_thresholds_are_by_run(data):
    scores, _, labels, *_ = data
    thresholds = {name: 0.2 + 0.1 * i for i, name in enumerate(scores)}
    frame = compare(data, thresholds=pd.Series(thresholds), n_boot=0).set_index(
        ["method", "attribute", "metric", "group"]
    )
    for method in ("erm", "dro"):
        tpr = [
            np.mean(scores[f"{method}-{s}"][labels == 1] >= np.float32(thresholds[f"{method}-{s}"]))
            for s in range(3)
        ]
        assert frame.loc[(method, "all", "tpr", "overall"), "value"] == pytest.approx(np.mean(tpr))


def test_a_run_that_is_not_finite_leaves_its_method_without_numbers_and_says_so(data):
    scores, *rest = data
    broken = scores | {"dro-1": np.where(np.arange(N) == 3, np.nan, scores["dro-1"])}
    frame = compare((broken, *rest))
    dro = frame.query("method == 'dro'")
    assert dro[["value", "ci_low", "difference", "p_value"]].isna().all(axis=None)
    assert dro["status"].str.contains("not finite").all()
    assert frame.query("method == 'erm'")["value"].notna().all()


def test_runs_that_are_missing_double_or_none_are_user_errors(data):
    scores, table, *_ = data
    few = {name: of for name, of in scores.items() if name != "dro-2"}
    with pytest.raises(UserError, match="1 runs .* such as 'dro-2'"):
        compare(data, chunks=chunked(few), n_boot=0)
    with pytest.raises(UserError, match="one seed; choose one"):
        compare(data, table=pd.concat([table, table.iloc[:1].assign(run_id="again")]))
    with pytest.raises(UserError, match="no methods"):
        compare(data, table=table.iloc[:0])


def test_harm_is_where_the_whole_interval_is_on_the_worse_side(data):
    scores, table, labels, attributes, patients = data
    rng = np.random.default_rng(3)
    female = attributes["sex"][0] == 0
    worse = {  # women's scores become noise, men's are drawn to their labels
        f"dro-{s}": np.where(female, rng.random(N), 0.3 * scores[f"erm-{s}"] + 0.7 * labels).astype(
            np.float32
        )
        for s in range(3)
    }
    frame = compare((scores | worse, table, labels, attributes, patients), n_boot=200)
    rows = harm(frame)
    verdict = rows.set_index(["attribute", "group", "metric"])["verdict"]
    assert set(rows["method"]) == {"dro"}
    assert not set(rows["group"]) & {"gap", "worst", "overall"}
    assert verdict["sex", "female", "auc"] == verdict["sex", "female", "bce"] == "worse"
    assert verdict["sex", "male", "bce"] == "better"
    assert verdict["age", "<40", "bce"] == "unclear"
    assert set(harm(compare(data, n_boot=0))["verdict"]) == {"unknown"}


def test_intervals_hold_the_truth_over_patients_and_seeds():
    """Log-odds are a·y + u + e: a ~ N(μ, τ²) of the run, u ~ N(0, 1) of the image, e ~ N(0, σ²) of
    both.

    Then the AUC over images and seeds is Φ(μ / √(2 (1 + σ²) + τ²)). Every study is a usage of its
    own.
    """
    rng = np.random.default_rng(0)
    n_studies, n_seeds, n, tau, sigma = 80, 3, 100, 0.35, 0.5
    mu = {"erm": 1.2, "better": 1.7, "equal": 1.2}
    labels = (np.arange(n) % 3 == 0).astype(int)
    table, scores = [], {}
    for study in range(n_studies):
        image = rng.normal(size=n)
        for method in mu:
            for seed in range(n_seeds):
                run_id = f"{study}-{method}-{seed}"
                table.append((run_id, str(study), method, "", seed))
                logit = rng.normal(mu[method], tau) * labels + image + rng.normal(0, sigma, n)
                scores[run_id] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    table = pd.DataFrame(table, columns=["run_id", "usage", "method", "sensitive", "seed"])
    frame = compare_methods(chunked(scores, 200), table, labels, {}, metrics=("auc",), n_boot=160)
    truth = {m: stats.norm.cdf(of / np.sqrt(2 * (1 + sigma**2) + tau**2)) for m, of in mu.items()}
    for method, rows in frame.groupby("method"):
        covered = rows["ci_low"].le(truth[method]) & rows["ci_high"].ge(truth[method])
        assert 0.90 <= covered.mean() <= 1
        if method != "erm":
            true = truth[method] - truth["erm"]
            covered = rows["difference_low"].le(true) & rows["difference_high"].ge(true)
            assert 0.90 <= covered.mean() <= 0.995
    equal = frame[frame["method"] == "equal"]
    assert (equal["p_value"] < 0.05).mean() <= 0.09
    # Patients alone would not do: the differences of single seeds are known too well.
    alone = compare_methods(
        chunked(scores, 200), table[table["seed"] == 0], labels, {}, metrics=("auc",), n_boot=160
    ).query("method == 'equal'")
    assert (alone["difference_low"].le(0) & alone["difference_high"].ge(0)).mean() < 0.85
