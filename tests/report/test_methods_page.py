"""Methods in the report: the table, the trade-off, who is worse off, the seeds, and the console."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from helpers.method_data import CHOSEN, NAMES, STRENGTHS, with_methods
from helpers.pages import Reader
from helpers.report_data import SEX, make_report_data

from fairjax.report import console_methods, console_table, summary_table
from fairjax.report.compared import Compared, Method, Runs
from fairjax.report.format import decimal, signed
from fairjax.report.page import render
from fairjax.report.sections import SECTIONS, methods
from fairjax.report.sections.common import Page
from fairjax.report.svg import GROUPS
from fairjax.statistics.methods import harm

OF_METHODS = {"methods", "tradeoff", "harm", "seeds"}


def small(attributes):
    """A report without the figures of cases."""
    return dataclasses.replace(
        make_report_data(attributes, n=900, n_runs=1), curves={}, thresholds={}
    )


@pytest.fixture(scope="module")
def two():
    """ERM and a method that harms no group, from three seeds."""
    return with_methods(small({"sex": SEX}), 2, 3)


@pytest.fixture(scope="module")
def many():
    """Nine methods of two seeds, of which one harms a group of each attribute."""
    return with_methods(small({"sex": SEX}), 9, 2, harmful="laftr")


@pytest.fixture(scope="module")
def page_of_two(two) -> str:
    return render(two)


@pytest.fixture(scope="module")
def page_of_many(many) -> str:
    return render(many)


def section(html: str, name: str) -> str:
    return Reader(re.search(rf'<section id="{name}".*?</section>', html, flags=re.S)[0]).text


def test_pages_are_well_formed_with_unique_ids_and_all_sections_of_methods(
    page_of_two, page_of_many
):
    for html in (page_of_two, page_of_many):
        reader = Reader(html)
        assert len(reader.ids) == len(set(reader.ids))
        assert set(reader.ids) >= OF_METHODS
        targets = set(re.findall(r"url\(#([^)]*)\)", html)) | {
            a["href"][1:] for _, a in reader.tags if "href" in a
        }
        assert targets <= set(reader.ids)
        figures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.S))
        assert not re.findall(r"#[0-9a-f]{6}", figures)
        assert "nan" not in reader.text.lower()


def test_sections_of_methods_are_left_out_of_one_method(two):
    of_methods = [section for section in SECTIONS if section.name in OF_METHODS]
    assert len(of_methods) == len(OF_METHODS)
    for frame in (None, two.methods[two.methods["method"] == "erm"]):
        page = Page(dataclasses.replace(two, methods=frame))
        assert [section.build(page) for section in of_methods] == [None] * len(OF_METHODS)


def test_the_table_shows_every_value_and_difference_with_its_interval(two, page_of_two):
    text = section(page_of_two, "methods").replace(" * ", " ")
    shown = two.methods[
        two.methods["group"].isin(["overall", "worst", "gap"]) & (two.methods["attribute"] != "all")
    ]
    shown = shown[(shown["sensitive"] == "") | (shown["sensitive"] == shown["attribute"])]
    for row in shown.itertuples():
        assert f"{decimal(row.value)} [{decimal(row.ci_low)}, {decimal(row.ci_high)}]" in text
        if row.method != "erm":
            assert (
                f"{signed(row.difference)} [{signed(row.difference_low)}, {signed(row.difference_high)}]"
                in text
            )
    assert "difference to erm" in text


def test_a_star_marks_exactly_the_differences_whose_interval_excludes_zero(two):
    frame = two.methods.copy()
    of_auc = (frame["method"] != "erm") & (frame["metric"] == "auc")
    frame[["difference_low", "difference", "difference_high"]] = -0.02, 0.0, 0.02
    frame.loc[frame["method"] == "erm", ["difference_low", "difference", "difference_high"]] = (
        np.nan
    )
    at = (
        of_auc
        & (frame["group"] == "gap")
        & (frame["attribute"] == "sex")
        & (frame["sensitive"] == "sex")
    )
    assert at.sum() == 1
    frame.loc[at, ["difference_low", "difference", "difference_high"]] = -0.03, -0.02, -0.01
    html = re.search(
        r'<section id="methods".*?</section>', render(dataclasses.replace(two, methods=frame)), re.S
    )[0]
    starred = re.findall(r'versus (\w+)">([^<]*)<span class="star"', html)
    assert starred == [("better", "−0.020 [−0.030, −0.010]")]


def test_bold_is_the_best_of_a_column_whichever_end_that_is(many):
    rows = methods._table(
        Compared(many.methods),
        Compared(many.methods).methods_for("linear_probe", "sex"),
        "sex",
        "auc",
    )
    for column, best in enumerate((max, max, min)):
        values = [cells[column][0].value for _, _, cells in rows]
        bold = [cells[column][0].value for _, _, cells in rows if cells[column][3]]
        assert bold == [best(values)]


def test_a_path_is_the_mean_over_seeds_at_each_strength_in_ascending_order(two):
    compared = Compared(two.methods)
    runs = Runs(two.results, compared, "auc")
    dro = Method("linear_probe", "group_dro", "sex")
    track = methods._track(Page(two), compared, runs, dro, ("sex", "gap"))
    of = two.results.query(
        "method == 'group_dro' and sensitive == 'sex' and metric == 'auc' and attribute == 'sex'"
    )
    for row, strength in zip(track.path, STRENGTHS, strict=True):
        at = of[of["strength"] == strength].groupby("group")["value"].mean()
        np.testing.assert_allclose(row, [at["overall"], at["gap"]])
    np.testing.assert_allclose(track.path[CHOSEN], track.point, atol=1e-9)
    erm = Method("linear_probe", "erm", "")
    assert len(methods._track(Page(two), compared, runs, erm, ("sex", "gap")).path) == 0


def test_only_runs_of_the_selected_settings_are_a_methods_seeds(two):
    other = two.results[two.results["method"] == "group_dro"].assign(learning_rate=1.0, value=0.1)
    compared = Compared(two.methods)
    runs = Runs(pd.concat([two.results, other]), compared, "auc")
    values = runs.values(Method("linear_probe", "group_dro", "sex"), "sex", "overall")
    assert sorted(values["seed"]) == [0, 1, 2]
    assert (values["strength"] == STRENGTHS[CHOSEN]).all()


def test_harm_says_who_is_worse_off_and_by_how_much(many, page_of_many):
    text = section(page_of_many, "harm")
    rows = harm(many.methods)
    worse = rows[rows["verdict"] == "worse"]
    assert set(worse["method"]) == {"laftr"}
    assert f"{len(worse)} of {len(rows)} comparisons are worse beyond noise" in text
    for row in worse.itertuples():
        number = f"{signed(row.difference)} [{signed(row.difference_low)}, {signed(row.difference_high)}]"
        assert re.search(rf"laftr sex {row.attribute} = {row.group} .*{re.escape(number)}", text)
    assert "No group got worse" not in text


def test_harm_says_that_no_group_got_worse_where_that_is_so_and_what_remains_possible(
    two, page_of_two
):
    text = section(page_of_two, "harm")
    rows = harm(two.methods)
    assert not (rows["verdict"] == "worse").any()
    assert f"No group got worse beyond noise, in {len(rows)} comparisons" in text
    assert f"AUC {signed(rows[rows['metric'] == 'auc']['difference_low'].min())} (group_dro" in text
    assert (
        f"Log loss {signed(rows[rows['metric'] == 'bce']['difference_high'].max())} (group_dro"
        in text
    )
    for row in rows.itertuples():  # nothing is hidden
        assert (
            f"{signed(row.difference)} [{signed(row.difference_low)}, {signed(row.difference_high)}]"
            in text
        )


def test_methods_are_distinguishable_and_the_baseline_is_the_same_everywhere(two):
    others = [
        two.methods[two.methods["method"] == "group_dro"].assign(method=name) for name in NAMES
    ]
    frame = pd.concat([two.methods[two.methods["method"] == "erm"], *others])
    styles = Page(dataclasses.replace(two, methods=frame)).method_styles
    assert set(styles) == {"erm", *NAMES}
    assert styles["erm"].token == "ink"
    assert len({(style.token, style.marker) for style in styles.values()}) == 20 > len(GROUPS)


def test_paths_of_many_methods_have_panels_of_their_own(page_of_two, page_of_many):
    assert "Each method by itself" not in page_of_two
    assert "Each method by itself" in page_of_many
    assert "a panel for each of group_dro, cvar_dro, laftr" in page_of_many


def test_the_selected_run_keeps_its_numbers_among_many_methods(two):
    text = console_table(two)
    assert text == console_table(
        dataclasses.replace(two, results=two.results[two.results["run"] == two.run])
    )
    summary = summary_table(two.results, two.run).set_index("attribute")
    erm = two.results[(two.results["method"] == "erm") & (two.results["metric"] == "auc")]
    assert summary.loc["sex", "n_seeds"] == 3
    values = erm[(erm["attribute"] == "sex") & (erm["group"] == "gap")]["value"]
    assert summary.loc["sex", "auc_gap_seed_mean"] == pytest.approx(values.mean())


def test_console_table_of_methods_fits_aligns_and_marks(two, many):
    frame = pd.concat([many.methods, many.methods.assign(usage="lora")])
    for text in (console_methods(frame), console_methods(two.methods)):
        lines = text.splitlines()
        assert max(map(len, lines)) <= 120
        places = {
            tuple(match.start() for match in re.finditer(r"\]", line))
            for line in lines
            if line.count("]") == 3
        }
        assert len(places) == 1
    assert "lora, by sex" in console_methods(frame)
    laftr = many.methods.query(
        "method == 'laftr' and attribute == 'sex' and metric == 'auc'"
    ).set_index("group")
    line = next(
        line for line in console_methods(many.methods).splitlines() if line.startswith("  laftr")
    )
    for group in ("overall", "worst", "gap"):
        assert f"{laftr.loc[group, 'value']:.3f} [" in line
    starred = console_methods(many.methods).count("]*")
    shown = many.methods[
        (many.methods["metric"] == "auc") & many.methods["group"].isin(["overall", "worst", "gap"])
    ]
    shown = shown[shown["attribute"] == "sex"]
    assert starred == ((shown["difference_low"] > 0) | (shown["difference_high"] < 0)).sum() > 0


def test_usages_are_apart_and_named(two):
    both = with_methods(dataclasses.replace(two, methods=None), 2, 2, ("linear_probe", "lora"))
    html = render(both)
    for name in ("methods", "tradeoff", "seeds"):
        text = section(html, name)
        assert "linear_probe, by sex" in text
        assert "lora, by sex" in text
    assert "All differences in AUC by sex, lora (2)" in section(html, "harm")


def test_a_method_without_numbers_says_why_and_leaves_the_figures_to_the_others(many):
    frame = many.methods.copy()
    broken = frame["method"] == "mmd"
    numbers = [
        "value",
        "ci_low",
        "ci_high",
        "difference",
        "difference_low",
        "difference_high",
        "p_value",
    ]
    frame.loc[broken, numbers] = np.nan
    frame.loc[broken, "status"] = "scores or threshold of a run are not finite"
    data = dataclasses.replace(many, methods=frame)
    page = Page(data)
    _, rows = methods.methods(page)["blocks"][0][2][0]
    cells = next(cells for of, _, cells in rows if of.method == "mmd")
    assert {value.reason for value, *_ in cells} == {"scores or threshold of a run are not finite"}
    figure = methods.tradeoff(page)["blocks"][0][2][0][0]
    assert "mmd" not in figure
    assert "coral" in figure
    text = console_methods(frame)
    assert re.search(r"  mmd +2 +\(1\) +\(1\) +\(1\)\n", text)
    assert "(1) no number: scores or threshold of a run are not finite" in " ".join(text.split())
