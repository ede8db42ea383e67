"""What an audit says: on the terminal, in files, and in the HTML report."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import fairjax
from fairjax.metrics.disparity import CRITERIA
from fairjax.metrics.table import CLASSIFICATION, METRICS

N = 400
QUICK = {"n_boot": 40, "n_permutations": 19}


def make(seed=0, n=N):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    groups = pd.DataFrame({"sex": rng.choice(["F", "M"], n), "age": rng.integers(20, 90, n)})
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1 + (groups["sex"] == "M") * labels, 1)))
    return labels, scores, groups, np.arange(n) // 2


@pytest.fixture(scope="module")
def report():
    labels, scores, groups, patients = make()
    other = np.clip(scores + np.random.default_rng(1).normal(0, 0.1, N), 0, 1)
    models = {"first": scores, "<b>second</b>": other}
    options = {"bins": {"age": (40, 60)}, "intersections": True, "population": "adults", **QUICK}
    return fairjax.audit(labels, models, groups, cluster=patients, **options)


def page(report, folder):
    return report.to_html(folder / "page.html").read_text()


def sections(html):
    return set(re.findall(r'<section id="(\w+)"', html))


def test_tables_have_the_promised_index_and_every_metric(report):
    assert report.summary.index.names == ["model", "attribute"]
    assert report.by_group.index.names == ["model", "attribute", "group"]
    labels, scores, groups, _ = make()
    single = fairjax.audit(labels, scores, groups[["sex"]], **QUICK)
    assert single.summary.index.name == "attribute"
    assert single.by_group.index.names == ["attribute", "group"]
    for name in CLASSIFICATION:
        assert {f"overall_{name}", f"overall_{name}_low", f"{name}_gap", f"{name}_gap_high"} <= set(
            single.summary
        )
        assert {name, f"{name}_low", f"{name}_high"} <= set(single.by_group)
    assert set(CRITERIA) <= set(single.summary)
    assert single.summary.loc["sex", "auc_gap_p"] > 0


def test_numbers_do_not_depend_on_which_other_models_and_attributes_are_audited(report):
    labels, scores, groups, patients = make()
    alone = fairjax.audit(labels, scores, groups[["sex"]], cluster=patients, **QUICK)
    columns = ["metric", "group", "value", "ci_low", "ci_high", "p_value"]
    with_others = report.results.query("run == 'first' and attribute == 'sex'")[
        columns
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        with_others,
        alone.results.query("attribute == 'sex'")[columns].reset_index(drop=True),
        atol=1e-6,
    )


def test_the_page_has_every_section_and_says_who_was_missing(report, tmp_path):
    html = page(report, tmp_path)
    wanted = {
        "what",
        "population",
        "cohort",
        "groups",
        "criteria",
        "models",
        "numbers",
        "roc",
        "calibration",
        "decision",
        "reading",
        "settings",
    }
    assert sections(html) == wanted
    assert "adults" in html
    assert "not corrected for one another" in html
    assert "<b>second" not in html
    for criterion in CRITERIA.values():
        assert criterion.label in html
    for name in CLASSIFICATION:
        assert METRICS[name].label in html
    assert report.data.dataset["sha256"] in html
    assert "https:" not in html


def test_json_holds_settings_versions_and_hash_and_no_nan(report, tmp_path):
    found = json.loads(report.to_json(tmp_path / "audit.json").read_text())
    assert found["settings"]["n_boot"] == QUICK["n_boot"]
    assert found["environment"]["versions"]["jax"]
    assert len(found["data"]["sha256"]) == 64
    assert len(found["comparisons"]) == len(report.comparisons)
    assert {row["attribute"] for row in found["by_group"]} == {"sex", "age", "sex × age"}


def test_the_hash_changes_with_the_input(report):
    labels, scores, groups, patients = make()
    scores[0] += 1e-9
    assert (
        fairjax.audit(
            labels, scores, groups, cluster=patients, bins={"age": 2}, n_boot=0, n_permutations=0
        ).data.dataset["sha256"]
        != report.data.dataset["sha256"]
    )


def test_without_replicates_nothing_speaks_of_intervals(tmp_path):
    labels, scores, groups, _ = make()
    report = fairjax.audit(labels, scores, groups[["sex"]], n_boot=0, n_permutations=0)
    assert not [column for column in report.summary if column.endswith("_low")]
    assert "[" not in str(report)
    html = page(report, tmp_path)
    assert "[no interval]" not in html
    assert "p = " not in html


def test_rows_without_patients_are_said_to_be_taken_as_independent(tmp_path):
    labels, scores, groups, _ = make()
    report = fairjax.audit(labels, scores, groups[["sex"]], **QUICK)
    assert any("taken as independent" in note for note in report.notes)
    assert "Every row is taken as independent" in page(report, tmp_path)


def test_a_rule_without_validation_samples_is_said_to_flatter():
    labels, scores, groups, _ = make()
    report = fairjax.audit(labels, scores, groups[["sex"]], threshold="youden", n_boot=0)
    assert "flatters" in report.data.thresholds["rule"]
    chosen = fairjax.audit(
        labels,
        scores,
        groups[["sex"]],
        threshold="youden",
        n_boot=0,
        validation=(labels[:200], scores[:200]),
    )
    assert "200 validation samples" in chosen.data.thresholds["rule"]
    from fairjax.metrics.threshold import choose_threshold

    assert (
        chosen.data.thresholds["value"]
        == choose_threshold(scores[None, :200], labels[:200], "youden")[0]
    )


def test_a_thousand_groups_make_a_page_of_bearable_size(tmp_path):
    labels, scores, _, _ = make(n=30_000)
    groups = {"site": [f"site {i % 1000}" for i in range(30_000)]}
    report = fairjax.audit(
        labels,
        scores,
        groups,
        bins={"site": "each"},
        n_boot=10,
        n_permutations=19,
        metrics=("auc", "tpr"),
    )
    assert len(report.by_group) == 1000
    html = page(report, tmp_path)
    assert len(html) < 3_000_000
    assert "960 groups are not shown" in html
    assert len(str(report).splitlines()) < 60


def test_a_page_of_segmentations_shows_values_and_no_classes(tmp_path):
    rng = np.random.default_rng(0)
    report = fairjax.audit_segmentation(
        rng.random(120), {"sex": rng.choice(["F", "M"], 120)}, **QUICK
    )
    html = page(report, tmp_path)
    assert sections(html) == {
        "what",
        "population",
        "groups",
        "numbers",
        "distribution",
        "reading",
        "settings",
    }
    assert "positive" not in html.partition("reading")[0].lower()


def test_the_page_of_compat_names_its_conventions(tmp_path):
    labels, scores, groups, _ = make()
    html = page(fairjax.audit(labels, scores, groups[["sex"]], policy="compat", **QUICK), tmp_path)
    assert "conventions of the published FairMedFM code" in html
    assert "acc@best" in html


def test_delong_intervals_replace_those_of_the_auc_alone():
    labels, scores, groups, patients = make()
    plain, delong = (
        fairjax.audit(
            labels,
            {"a": scores, "b": scores**2},
            groups[["sex"]],
            cluster=patients,
            auc_interval=name,
            **QUICK,
        )
        for name in ("bootstrap", "delong")
    )
    for table, key in (("results", "group"), ("comparisons", "group")):
        a, b = getattr(plain, table), getattr(delong, table)
        changed = (a["ci_low"] != b["ci_low"]) & a["ci_low"].notna()
        assert set(b.loc[changed, "metric"]) <= {"auc"}
        assert {"overall", "F", "M"} <= set(b.loc[(b["metric"] == "auc"), key])
    row = delong.results.query("run == 'a' and metric == 'auc' and group == 'F − M'").iloc[0]
    assert row["ci_high"] - row["value"] == pytest.approx(row["value"] - row["ci_low"])
    same = delong.comparisons.query("metric == 'auc' and group == 'overall'")
    assert (same["p_value"] == 1).all()  # squaring keeps the order
