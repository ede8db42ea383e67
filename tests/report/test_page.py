"""The HTML page: complete, safe, honest about what is missing, and the same each time."""

from __future__ import annotations

import dataclasses
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from helpers.pages import Reader
from helpers.report_data import AGE, SEX, make_report_data

from fairjax import report
from fairjax.report.format import count, decimal
from fairjax.report.page import render
from fairjax.report.sections import SECTIONS
from fairjax.report.selected import GAP, OVERALL, Selected
from fairjax.utils.errors import UserError


@pytest.fixture(scope="module")
def page(data) -> str:
    return render(data)


OF_OTHERS = {
    "population",
    "criteria",
    "models",
    "distribution",
    "decision",
    "prompts",
    "cases",
    "methods",
    "tradeoff",
    "harm",
    "seeds",
}  # of audits, of prompted segmentation, and of many methods


def test_page_is_well_formed_with_unique_ids_and_every_section(page):
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert {section.name for section in SECTIONS} - OF_OTHERS <= set(reader.ids)
    assert not OF_OTHERS & set(reader.ids)


def test_page_loads_nothing_and_runs_nothing(page):
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "image"} & {tag for tag, _ in reader.tags}
    for _, attributes in reader.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(
            attributes.get(name, "#").startswith("#") for name in ("href", "src", "xlink:href")
        )
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_references_inside_figures_point_at_something(page):
    reader = Reader(page)
    targets = set(re.findall(r"url\(#([^)]*)\)", page)) | {
        a["href"][1:] for _, a in reader.tags if "href" in a
    }
    assert targets
    assert targets <= set(reader.ids)


def test_figures_take_their_colours_from_the_theme(page):
    figures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.S))
    assert "var(--g0)" in figures
    assert not re.findall(r"#[0-9a-f]{6}", figures)


def test_every_figure_has_a_description_and_every_table_headers(page):
    reader = Reader(page)
    figures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert figures
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in figures)
    assert page.count("<table") == len(
        re.findall(r'<table[^>]*>(?:(?!</table>).)*<th scope="', page, flags=re.S)
    )


def test_every_number_of_the_selected_run_is_shown_with_its_interval(data, page):
    text = Reader(page).text
    rows = data.results[data.results["run"] == data.run]
    for row in rows.itertuples():
        assert np.isfinite(row.value)
        shown = f"{decimal(row.value)} [{decimal(row.ci_low)}, {decimal(row.ci_high)}]"
        assert shown in text.replace(" * [", " ["), (row.attribute, row.group, row.metric)


def test_cohort_counts_are_shown(data, page):
    text = Reader(page).text
    assert all(count(n) in text for n in data.cohort["n_images"])
    assert "missing" in text


def test_verdict_says_shown_only_where_the_interval_excludes_zero(data, page):
    selected = Selected(data.results, data.run)
    assert selected.estimate("sex", "auc", GAP).excludes_zero
    assert not selected.estimate("age", "auc", GAP).excludes_zero
    assert re.search(
        r"By sex the gap is 0\.\d\d \[0\.\d\d, 0\.\d\d\]: female 0\.\d\d, male 0\.\d\d\.", page
    )
    assert re.search(
        r"By age no gap could be shown: 0\.\d\d \[0\.00, (0\.\d\d)\]; one of up to \1 remains", page
    )


def test_a_malicious_name_stays_text():
    evil = "</text><script>alert(1)</script>\"'&"
    evil_data = make_report_data(
        {evil: {"$\\frac{1}$ --><b>": 1.0, "\x00\x1b[31m": 1.4}}, n=400, n_runs=2
    )
    html = render(dataclasses.replace(evil_data, title=evil, notes=[evil]))
    assert "<script" not in html
    assert "<b>m" not in html
    assert "alert(1)" in Reader(html).text


def test_a_group_without_a_number_shows_the_reason(tmp_path):
    sparse = make_report_data(
        {"sex": {**SEX, "other": 1.0}}, n=1500, n_runs=2, sparse={("sex", "other"): 0.0}
    )
    text = Reader(report.write(tmp_path, sparse).read_text()).text
    assert "No numbers for sex = other: no test images." in text
    assert text.count("no test images") > 6
    assert "nan" not in text.lower()


def test_an_attribute_without_a_gap_says_why(data):
    results = data.results.copy()
    gaps = (results["attribute"] == "age") & (results["group"] == GAP)
    results.loc[gaps, ["value", "ci_low", "ci_high"]] = np.nan
    results.loc[gaps, "status"] = "fewer than 2 usable groups"
    html = render(dataclasses.replace(data, results=results))
    assert "By age no gap could be computed: fewer than 2 usable groups." in html


def test_a_gap_that_leaves_out_a_group_says_so(data):
    results = data.results.copy()
    results.loc[(results["attribute"] == "sex") & (results["group"] == GAP), "status"] = (
        "without other"
    )
    assert re.search(
        r"By sex the gap is [^:]* \(without other\):",
        render(dataclasses.replace(data, results=results)),
    )


def test_sections_without_data_are_left_out(data):
    results = data.results[data.results["run"] == data.run]
    html = render(
        dataclasses.replace(
            data, results=results, curves={}, thresholds={}, cohort=data.cohort.iloc[:0]
        )
    )
    ids = Reader(html).ids
    assert not {"roc", "calibration", "runs", "cohort"} & set(ids)
    assert {"groups", "numbers"} <= set(ids)


def test_same_data_give_the_same_bytes_whatever_the_style_of_matplotlib(
    data, page, tmp_path, monkeypatch
):
    monkeypatch.setitem(matplotlib.rcParams, "axes.grid", True)
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 20)
    path = report.write(tmp_path / "new" / "report", data)
    assert path == tmp_path / "new" / "report" / "index.html"
    assert path.read_bytes() == page.encode()


def test_page_stays_small_with_twelve_thousand_runs(data):
    rng = np.random.default_rng(0)
    summary = data.results[
        (data.results["metric"] == "auc") & data.results["group"].isin([OVERALL, GAP, "worst"])
    ]
    one = summary[summary["run"] == data.run]
    many = one.loc[one.index.repeat(12_288)].reset_index(drop=True)
    number = many.groupby(["attribute", "group"]).cumcount()
    many["run"] = "more-" + number.astype(str)
    many["learning_rate"] = 10.0 ** -(2 + number % 4)
    many["value"] += rng.normal(0, 0.03, len(many))
    html = render(
        dataclasses.replace(data, results=pd.concat([data.results, many], ignore_index=True))
    )
    assert "12,352 runs" in html
    assert len(html.encode()) < 1_000_000


def test_many_groups_of_many_attributes_fit(tmp_path):
    groups = {f"a group with a rather long name, number {i}": 1.0 + i / 20 for i in range(12)}
    attributes = {f"attribute {i}": groups for i in range(2)} | {"age": AGE}
    html = render(make_report_data(attributes, n=2000, n_runs=4))
    Reader(html)
    assert len(html.encode()) < 2_000_000


def test_an_unknown_run_is_a_user_error(data):
    with pytest.raises(UserError, match="no run 'run-x'"):
        render(dataclasses.replace(data, run="run-x"))


def test_groups_with_few_images_of_a_class_are_named():
    few = make_report_data(
        {"sex": {**SEX, "other": 1.0}}, n=1500, n_runs=1, sparse={("sex", "other"): 0.05}
    )
    selected = Selected(few.results, few.run)
    n, n_positive = selected.sizes("sex", "other")
    text = Reader(render(few)).text
    assert (
        f"Fewer than 20 images of one class: sex = other ({n_positive:g} positive, {n - n_positive:g} negative)."
        in text
    )


def test_every_disparity_of_the_metrics_is_shown_as_one_and_not_as_a_group(data):
    gap = data.results[data.results["group"] == GAP]
    results = pd.concat([data.results, gap.assign(group="gap_corrected")], ignore_index=True)
    selected = Selected(results, data.run)
    assert selected.groups("sex") == ["female", "male"]
    assert selected.disparities("sex") == ["gap", "gap_corrected", "worst"]
    assert "Gap, bias-corrected" in render(dataclasses.replace(data, results=results))


def test_level_of_the_intervals_comes_from_the_settings(data):
    html = render(dataclasses.replace(data, config={"evaluation": {"confidence": 0.9}}))
    assert "90\N{NO-BREAK SPACE}%" in html
    assert "95\N{NO-BREAK SPACE}%" not in html
