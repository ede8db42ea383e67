import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairjax.datasets.catalog import SPECS
from fairjax.datasets.rules import Bins, Groups, Label, Values
from fairjax.datasets.values import MISSING_WORDS, canonical
from fairjax.utils.errors import UserError


def test_a_value_is_the_same_whether_written_as_text_or_number():
    values = canonical(pd.Series(["1", " 1 ", "1.0", 1, 1.0, None, np.nan, "F "]))
    assert values.tolist() == ["1", "1", "1", "1", "1", "", "", "F"]


def test_groups_map_values_and_count_missing():
    rule = Groups("sex", {"F": "female", "M": "male"}, missing=("unknown",))
    groups = rule.apply(pd.Series(["M", "F ", "unknown", "", None]), "t.csv")
    assert list(groups.codes) == [1, 0, -1, -1, -1]
    assert list(groups.categories) == ["female", "male"]


def test_an_unknown_group_value_is_refused_with_its_count():
    rule = Groups("sex", {"F": "female", "M": "male"})
    with pytest.raises(
        UserError,
        match=r"t\.csv: attribute column 'sex' holds 'X' \(2 rows\), 'transgender' \(1 row\).*'F', 'M'",
    ):
        rule.apply(pd.Series(["M", "X", "X", "transgender", "F"]), "t.csv")


def test_bins_are_half_open_and_read_numbers_out_of_text():
    rule = Bins("age", (40, 60), missing=("unknown",), pattern=r"^0*(\d+)Y$")
    ages = rule.apply(pd.Series(["039Y", "040Y", "059Y", "060Y", "unknown", ""]), "t.csv")
    assert rule.group_names == ["<40", "40-<60", "≥60"]
    assert list(ages.codes) == [0, 1, 1, 2, -1, -1]


@pytest.mark.parametrize("value", ["old", "6O", "inf"])
def test_an_age_that_is_no_number_is_refused(value):
    with pytest.raises(UserError, match=value):
        Bins("age").apply(pd.Series(["60", value]), "t.csv")


def test_cut_points_must_increase():
    with pytest.raises(UserError, match="must increase"):
        Bins("age", (60, 40)).apply(pd.Series(["50"]), "t.csv")


def test_labels_by_value_by_text_and_dropped():
    assert Label("y", "", positive=("1",), negative=("0",), drop=("2",)).apply(
        pd.Series(["1", "0.0", 2]), "t"
    ).tolist() == [1, 0, -1]
    assert Label("y", "", positive=("1",)).apply(pd.Series(["1", "0", "", "-1"]), "t").tolist() == [
        1,
        0,
        0,
        0,
    ]
    assert Label("y", "", contains="COVID-19").apply(
        pd.Series(["COVID-19, ARDS", "SARS"]), "t"
    ).tolist() == [1, 0]


def test_a_label_without_a_rule_is_refused():
    with pytest.raises(UserError, match=r"label column 'y' holds '7' \(1 row\)"):
        Label("y", "", positive=("1",), negative=("0",)).apply(pd.Series(["1", "0", "7"]), "t.csv")


WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=6)


@given(
    st.lists(
        st.sampled_from(["F", "M", "female", " M ", "unknown", "", "X"]) | WORDS,
        min_size=1,
        max_size=12,
    )
)
def test_a_group_map_is_total_or_refuses(values):
    rule = Groups("sex", {"F": "female", "female": "female", "M": "male"}, missing=("unknown",))
    groups_of = {"f": "female", "female": "female", "m": "male"}
    text = [value.casefold() for value in canonical(pd.Series(values))]
    missing = [value in MISSING_WORDS for value in text]
    if all(gone or value in groups_of for value, gone in zip(text, missing)):
        groups = rule.apply(pd.Series(values), "t")
        expected = [groups_of.get(value) for value in text]
        assert [None if pd.isna(group) else group for group in groups] == expected
    else:
        with pytest.raises(UserError, match="map the value or declare it missing"):
            rule.apply(pd.Series(values), "t")


@given(
    st.lists(st.floats(0, 120) | st.just(float("nan")), min_size=1),
    st.sets(st.integers(1, 119), min_size=1, max_size=4),
)
def test_every_number_is_in_the_one_bin_that_holds_it(ages, cuts):
    cuts = tuple(sorted(map(float, cuts)))
    codes = Bins("age", cuts).apply(pd.Series(ages), "t").codes
    edges = [-np.inf, *cuts, np.inf]
    for age, code in zip(ages, codes):
        assert code == -1 if np.isnan(age) else edges[code] <= age < edges[code + 1]


@pytest.mark.parametrize("name", SPECS)
def test_every_group_map_of_the_catalog_refuses_what_it_does_not_name(name):
    for attribute, rule in SPECS[name].attributes.items():
        if isinstance(rule, Groups | Bins):
            with pytest.raises(UserError, match=r"'never heard of' \(1 row\)"):
                rule.apply(pd.Series(["never heard of", ""]), attribute)


def test_parts_of_a_text_are_looked_for_in_their_order_and_missing_values_first():
    rule = Groups(
        "race",
        {"White": "white", "Asian": "other", "Hispanic": "other"},
        missing=("Not White",),
        parts=True,
    )
    groups = rule.apply(pd.Series(["White, Hispanic", "Asian - Hispanic", "Not White", ""]), "t")
    assert list(groups.codes) == [0, 1, -1, -1]
    with pytest.raises(
        UserError,
        match=r"holds 'Purple' \(1 row\); the group map names 'White', 'Asian', 'Hispanic'",
    ):
        rule.apply(pd.Series(["Purple", "White"]), "t")


def test_rare_values_are_missing_or_a_group_of_their_own():
    rule = Groups("sex", {"f": "female", "m": "male"}, rare={"t": "transgender"})
    assert list(rule.with_rare("missing").apply(pd.Series(["t", "m"]), "t").codes) == [-1, 1]
    own = rule.with_rare("group").apply(pd.Series(["t", "m"]), "t")
    assert (list(own.codes), list(own.categories)) == ([2, 1], ["female", "male", "transgender"])


def test_distinct_values_are_groups_unless_there_are_too_many():
    groups = Values("site", missing=("?",)).apply(pd.Series(["b", "a ", "?", ""]), "t")
    assert (list(groups.codes), list(groups.categories)) == ([1, 0, -1, -1], ["a", "b"])
    with pytest.raises(UserError, match="has 30 distinct numbers; give bins"):
        Values("site").apply(pd.Series(map(str, range(30))), "t")


def test_other_positive_values_are_of_those_that_are_known():
    rule = Label("dx", "malignant", positive=("mel",), negative=("bcc", "nv"))
    assert rule.with_positive(("mel", "bcc"), "ham").apply(
        pd.Series(["mel", "bcc", "nv"]), "t"
    ).tolist() == [1, 1, 0]
    with pytest.raises(UserError, match="did you mean 'bcc'"):
        rule.with_positive(("bc",), "ham")
