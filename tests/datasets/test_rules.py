import numpy as np
import pandas as pd
import pytest

from fairjax.datasets.rules import Bins, Groups, Label, canonical
from fairjax.errors import UserError


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
        UserError, match=r"t\.csv: attribute column 'sex' holds 'X' \(2 rows\), 'transgender' \(1 row\).*'F', 'M'"
    ):
        rule.apply(pd.Series(["M", "X", "X", "transgender", "F"]), "t.csv")


def test_bins_are_half_open_and_read_numbers_out_of_text():
    rule = Bins("age", (40, 60), missing=("unknown",), pattern=r"^0*(\d+)Y$")
    ages = rule.apply(pd.Series(["039Y", "040Y", "059Y", "060Y", "unknown", ""]), "t.csv")
    assert rule.names == ["<40", "40-60", "≥60"]
    assert list(ages.codes) == [0, 1, 1, 2, -1, -1]


@pytest.mark.parametrize("value", ["old", "6O", "nan"])
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
    assert Label("y", "", positive=("1",)).apply(pd.Series(["1", "0", "", "-1"]), "t").tolist() == [1, 0, 0, 0]
    assert Label("y", "", contains="COVID-19").apply(pd.Series(["COVID-19, ARDS", "SARS"]), "t").tolist() == [1, 0]


def test_a_label_without_a_rule_is_refused():
    with pytest.raises(UserError, match=r"label column 'y' holds '7' \(1 row\)"):
        Label("y", "", positive=("1",), negative=("0",)).apply(pd.Series(["1", "0", "7"]), "t.csv")
