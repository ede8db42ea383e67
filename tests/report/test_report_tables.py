"""The console table and summary.csv."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from helpers.report_data import SEX, make_report_data

from fairjax.report import console_table, summary_table
from fairjax.report.selected import Selected
from fairjax.utils.errors import UserError


def test_console_table_fits_its_width_and_aligns_its_numbers(data):
    lines = console_table(data).splitlines()
    assert max(map(len, lines)) <= 120
    header = lines[0]
    assert re.findall(r"\S+", header)[:6] == ["n", "pos.", "AUC", "TPR", "TNR", "ECE"]
    closing = {
        tuple(match.start() for match in re.finditer(r"\]", line))
        for line in lines[2:-1]
        if "]" in line
    }
    assert len(closing) == 1


def test_console_table_drops_metrics_that_do_not_fit(data):
    narrow = console_table(data, width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "TPR" in narrow
    assert "ECE" not in narrow
    assert "Accuracy" in console_table(data, metrics=["acc"])


def test_console_table_shows_no_number_without_an_interval(data):
    body = console_table(data).splitlines()[2:-1]
    for line in body:
        numbers = re.sub(r"\[\d\.\d{3}, \d\.\d{3}\]", "!", line)
        assert len(re.findall(r"\d\.\d{3}", numbers)) == numbers.count("!")
    gone = data.results["metric"] == "auc"
    results = data.results.assign(
        ci_low=data.results["ci_low"].mask(gone), ci_high=data.results["ci_high"].mask(gone)
    )
    assert console_table(results, data.run).count("[no interval]") > 5


def test_console_table_without_any_intervals_does_not_speak_of_them(data):
    text = console_table(data.results.assign(ci_low=np.nan, ci_high=np.nan), data.run)
    assert "interval" not in text
    assert "[" not in text


def test_console_table_marks_a_gap_whose_interval_excludes_zero(data):
    gaps = [line for line in console_table(data).splitlines() if line.startswith("  gap")]
    assert len(gaps) == 2
    by_sex, by_age = gaps
    assert re.search(r"gap +0\.\d+ \[0\.\d+, 0\.\d+\]\*", by_sex)
    assert re.search(r"gap +0\.\d+ \[0\.000, 0\.\d+\] ", by_age)


def test_console_table_gives_the_reason_for_a_missing_number():
    sparse = make_report_data(
        {"sex": {**SEX, "other": 1.0}}, n=1500, n_runs=1, sparse={("sex", "other"): 0.0}
    )
    text = console_table(sparse)
    assert re.search(r"  other +0 +0 +\(1\) +\(1\)", text)
    assert "(1) no number: no test images" in text
    assert "nan" not in text.lower()


def test_console_table_aligns_long_and_wide_names():
    groups = {"an exceedingly long name of a group": 1.0, "东亚 人": 1.2}
    lines = console_table(make_report_data({"g": groups}, n=600, n_runs=1)).splitlines()
    long = next(line for line in lines if "…" in line)
    wide = next(line for line in lines if "东亚" in line)
    assert long.rindex("]") == wide.rindex("]") + len(
        "东亚人"
    )  # each takes two columns of the terminal
    assert max(map(len, lines)) <= 120


def test_console_table_of_an_unknown_run_is_a_user_error(data):
    with pytest.raises(UserError, match="no run 'x'"):
        console_table(data.results, "x")


def test_summary_has_one_row_per_attribute_with_the_selected_run(data):
    summary = summary_table(data.results, data.run).set_index("attribute")
    assert list(summary.index) == ["all", "sex", "age"]
    cell = Selected(data.results, data.run).estimate("sex", "auc", "gap")
    assert summary.loc["sex", "auc_gap"] == cell.value
    assert summary.loc["sex", "auc_gap_low"] == cell.low
    assert summary.loc["sex", "worst_auc_high"] >= summary.loc["sex", "worst_auc"]
    assert np.isnan(summary.loc["all", "auc_gap"])
    assert summary.loc["all", ["n_runs", "n_seeds"]].tolist() == [64, 16]


def test_summary_spread_is_over_seeds_at_the_selected_settings_and_over_all_runs(data):
    summary = summary_table(data.results, data.run).set_index("attribute")
    auc = data.results.query("metric == 'auc' and group == 'overall' and attribute == 'sex'")
    rate = auc.loc[auc["run"] == data.run, "learning_rate"].item()
    same = auc.loc[auc["learning_rate"] == rate, "value"]
    assert summary.loc["sex", "overall_auc_seed_mean"] == pytest.approx(same.mean())
    assert summary.loc["sex", "overall_auc_seed_std"] == pytest.approx(same.std())
    assert summary.loc["sex", "overall_auc_runs_p95"] == pytest.approx(auc["value"].quantile(0.95))


def test_summary_takes_missing_hyper_parameters_as_equal(data):
    results = data.results.assign(learning_rate=np.nan, weight_decay=None)
    summary = summary_table(results, data.run)
    assert (summary["n_seeds"] == 64).all()


def test_summary_survives_a_round_trip_through_csv(data, tmp_path):
    summary = summary_table(data.results, data.run)
    summary.to_csv(tmp_path / "summary.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "summary.csv"), summary, check_dtype=False)
