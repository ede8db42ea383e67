"""What people have: labels, scores, groups and tables in every form, and the one line that a
mistake gets.
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from helpers import needs
from scipy import special

from fairjax.auditing import inputs, tables
from fairjax.auditing.inputs import binary_labels, collect, positive_scores
from fairjax.datasets import groups
from fairjax.datasets.bins import parse_bins
from fairjax.utils.errors import UserError

LABELS, SCORES, SEX = [0, 1, 1, 0], [0.1, 0.8, 0.6, 0.3], ["F", "M", "M", "F"]


@pytest.mark.parametrize(
    ("labels", "pos_label"),
    [
        (LABELS, None),
        (np.array(LABELS, bool), None),
        (["0", "1", "1", "0"], None),
        (np.array(LABELS, float), None),
        (pd.Series([0, 1, 1, 0], dtype="Int64"), None),
        (pd.Series([False, True, True, False], dtype="boolean"), None),
        (jnp.array(LABELS), None),
        (["benign", "malignant", " malignant", "benign"], "malignant"),
        (pd.Categorical(["b", "m", "m", "b"]), "m"),
        ([1.0, 2.0, 2.0, 1.0], 2),
        (np.array([[0], [1], [1], [0]]), None),
    ],
)
def test_labels_of_every_form_are_zero_and_one(labels, pos_label):
    np.testing.assert_array_equal(binary_labels(labels, pos_label)[0], LABELS)


def test_labels_and_scores_may_be_tensors():
    torch = needs.torch()
    np.testing.assert_array_equal(binary_labels(torch.tensor(LABELS), None)[0], LABELS)
    for options in ({"requires_grad": True}, {"dtype": torch.bfloat16}):
        found, _ = positive_scores(torch.tensor(SCORES, **options))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, SCORES, atol=4e-3)


def test_one_class_against_the_rest_is_said_to_be_so():
    labels, facts = binary_labels(["a", "b", "c", None], "b")
    np.testing.assert_array_equal(labels, [0, 1, 0, np.nan])
    assert facts == {"positive label": "b", "negative labels": "a, c"}


@pytest.mark.parametrize(
    "scores",
    [SCORES, np.float32(SCORES), pd.Series(SCORES, dtype="Float64"), jnp.array(SCORES), [str(score) for score in SCORES], np.array(SCORES, object), [[score] for score in SCORES]],
)  # fmt: skip
def test_scores_of_every_form_are_float64(scores):
    found, _ = positive_scores(scores)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, SCORES, atol=4e-3)


def test_logits_and_one_column_per_class_are_the_probabilities_of_the_positive_one():
    logits = np.array([[0.3, -2.0, 1.0], [1000.0, -1000.0, 0.0]])
    np.testing.assert_allclose(
        positive_scores([-1000.0, 0.0, 3.0], score_type="logit")[0], special.expit([-1000, 0, 3.0])
    )
    options = {"pos_label": "b", "classes": ["a", "b", "c"]}
    np.testing.assert_allclose(
        positive_scores(logits, score_type="logit", **options)[0],
        special.softmax(logits, axis=1)[:, 1],
    )
    probabilities = special.softmax(logits, axis=1)
    np.testing.assert_allclose(positive_scores(probabilities, **options)[0], probabilities[:, 1])
    np.testing.assert_allclose(positive_scores([[0.2, 0.8], [0.7, 0.3]])[0], [0.8, 0.3])


def test_a_matrix_has_its_columns_in_the_sorted_order_of_the_classes():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    data = collect([2, 10, 30], np.vstack([probabilities, [0.2, 0.2, 0.6]]), SEX[:3], pos_label=10)
    np.testing.assert_allclose(data.scores["score"], [0.2, 0.3, 0.2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": [0, 1, 2, 1]}, "say which is the positive one"),
        ({"y_true": ["a", "b", "b", "a"], "pos_label": "c"}, "no label is 'c'"),
        ({"y_true": ["a", "None", "b", "a"], "pos_label": "a"}, "the label of 1 rows is 'none', the first is row 1.*no finding"),
        ({"y_true": [0, 1]}, "'score' has 4 values, but 'label' has 2"),
        ({"y_score": [0.1, 0.2]}, "'score' has 2 values, but 'label' has 4"),
        ({"y_score": [-1.5, 0.2, 0.3, 2.0]}, "range from -1.5 to 2"),
        ({"y_score": [0.1, np.inf, 0.2, 0.3]}, "1 rows are infinite, the first is row 1"),
        ({"y_score": ["a", 0.1, 0.2, 0.3]}, "must be numbers, not 'a'"),
        ({"y_score": np.full((4, 3), 1 / 3)}, "has 3 columns: say which class is positive"),
        ({"y_score": np.full((4, 2), 0.4)}, "the classes of row 0 sum to 0.8"),
        ({"y_score": 0.5}, "one value for each sample"),
        ({"y_score": [np.nan, 0.2, 0.3, 0.1]}, "1 rows have no score, the first is row 0.*missing=drop"),
        ({"y_true": [0, None, 1, 0]}, "1 rows have no label, the first is row 1"),
        ({"score_type": "logits"}, "did you mean 'logit'"),
        ({"groups": ["F", "M"]}, "attribute 'group' has 2 values, but there are 4 samples"),
        ({"groups": {}}, "no attribute to compare"),
        ({"cluster": [1, 2]}, "cluster has 2 values"),
        ({"cluster": [1, 2, None, 3]}, "1 rows have no patient"),
        ({"weights": [1, 1, -1, 1]}, "weights must be finite and not negative"),
        ({"weights": [0, 0, 0, 0]}, "not all 0"),
        ({"missing": "ignore"}, "unknown missing 'ignore'"),
        ({"bins": {"age": (1,)}}, "bins for 'age', which is no attribute"),
        ({"intersections": True}, "an intersection needs at least two attributes"),
        ({"y_true": [], "y_score": [], "groups": []}, "there are no samples"),
        ({"y_true": pd.Series(LABELS, index=[3, 2, 1, 0]), "y_score": pd.Series(SCORES)}, "same index in another order"),
    ],
)  # fmt: skip
def test_mistakes_get_one_line(change, message):
    with pytest.raises(UserError, match=message):
        collect(**{"y_true": LABELS, "y_score": SCORES, "groups": SEX} | change)


def test_dropped_rows_are_counted_by_reason_and_by_group_and_for_all_models_alike():
    models = {"a": [0.1, np.nan, 0.6, 0.3], "b": SCORES}
    data = collect(
        [0, 1, None, 0],
        models,
        {"sex": ["F", "M", "M", None]},
        cluster=[7, 7, 8, 9],
        weights=[1, 2, 3, 4],
        missing="drop",
    )
    assert data.left_out == {"no label": 1, "no a": 1}
    assert data.n_given == 4
    np.testing.assert_array_equal(data.scores["b"], [0.1, 0.3])
    np.testing.assert_array_equal(data.patients, [0, 1])
    np.testing.assert_array_equal(data.weights, [1, 4])
    lost = data.left_out_by_group.set_index(["attribute", "group"])["n_left_out"]
    assert lost.to_dict() == {("sex", "missing"): 0, ("sex", "F"): 0, ("sex", "M"): 2}
    with pytest.raises(UserError, match="no row has a label and a score"):
        collect([0, 1], [np.nan, np.nan], SEX[:2], missing="drop")


def names_of(values, **options):
    table = groups.encode({"a": values}, **options)
    codes, names = table.attributes["a"]
    return [None if code < 0 else names[code] for code in codes], names


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", "a", None, " a "], ["a", "b"]),
        ([10, 9, np.nan, 9.0], ["9", "10"]),
        (["10", "9", "NA", "9.0"], ["9", "10"]),
        (pd.Series([True, False, None, False], dtype="boolean"), ["False", "True"]),
        (pd.Series([2, 1, None, 1], dtype="Int64"), ["1", "2"]),
        (pd.Categorical(["hi", "lo", None, "lo"], categories=["lo", "mid", "hi"]), ["lo", "hi"]),
        (["b", "A", "null", "A"], ["A", "b"]),
    ],
)
def test_groups_are_in_their_natural_order_and_missing_words_are_missing(values, names):
    found, order = names_of(values)
    assert order == names
    assert found[2] is None
    assert found[1] == found[3]


def test_numbers_are_cut_at_points_or_quantiles_or_not_at_all():
    ages = [20, 40, 59.9, 60, None, 90]
    assert names_of(ages, bins={"a": (40, 60)})[0] == [
        "<40",
        "40-<60",
        "40-<60",
        "≥60",
        None,
        "≥60",
    ]
    rng = np.random.default_rng(0)
    codes, names = groups.encode({"a": rng.random(1000)}, bins={"a": 4}).attributes["a"]
    assert len(names) == 4
    assert np.ptp(np.bincount(codes)) <= 1
    assert len(names_of(range(30), bins={"a": "each"})[1]) == 30


@pytest.mark.parametrize(
    ("values", "bins", "message"),
    [
        (
            range(30),
            {},
            "30 distinct numbers; give bins: a=40,60 cuts at these points, a=q4 in quartiles",
        ),
        (["x", "2"], {"a": (1,)}, "no number in 'x'"),
        ([1.0, np.inf], {"a": (1,)}, "no number in 'inf'"),
        ([1, 2], {"a": (5, 2)}, "must increase"),
        ([1, 2], {"a": ()}, "must increase"),
        ([1, 2], {"a": 5}, "cannot make 5 quantiles of 2 values"),
    ],
)
def test_what_cannot_be_cut_is_named(values, bins, message):
    with pytest.raises(UserError, match=message):
        groups.encode({"a": list(values)}, bins=bins)


def test_intersections_hold_those_who_are_in_one_group_of_each():
    table = groups.encode(
        {"sex": ["F", "M", None, "F"], "site": ["b", "a", "a", "b"]}, intersections=True
    )
    codes, names = table.attributes["sex × site"]
    assert names == ["F × b", "M × a"]
    np.testing.assert_array_equal(codes, [0, 1, -1, 0])


@pytest.mark.parametrize(
    "form",
    [
        pd.Series(SEX, name="group"),
        SEX,
        np.array(SEX),
        {"group": SEX},
        pd.DataFrame({"group": SEX}, index=[5, 5, 6, 6]),
    ],
)
def test_groups_of_every_form(form):
    codes, names = groups.encode(form, 4).attributes["group"]
    np.testing.assert_array_equal(codes, [0, 1, 1, 0])
    assert names == ["F", "M"]


def tensor(matrix):
    return needs.torch().tensor(matrix)


@pytest.mark.parametrize("convert", [np.array, tensor])
def test_tensors_and_matrices_are_several_attributes(convert):
    table = groups.encode(convert([[0, 5], [1, 5]]))
    assert {name: names for name, (_, names) in table.attributes.items()} == {
        "group_0": ["0", "1"],
        "group_1": ["5"],
    }


def test_flags_of_bins_are_read_or_refused():
    expected = {"age": (40.0, 60.0), "bmi": 4, "site": "each"}
    for written in (
        ["age=40,60", "bmi=q4", "site=each"],
        "age=40,60; bmi=q4;site=each",
        {"age": [40, 60], "bmi": 4, "site": "each"},
        {"age": "40,60", "bmi": "q4", "site": "each"},
    ):
        assert parse_bins(written) == expected
    assert parse_bins(None) == parse_bins("") == {}
    for flag in ("age", "age=", "=4", "age=q", "age=4;5"):
        with pytest.raises(UserError, match="write age=40,60"):
            parse_bins([flag])


def test_a_million_rows_are_coded_in_seconds():
    rng = np.random.default_rng(0)
    site = np.char.add("site ", rng.integers(0, 1000, 1_000_000).astype(str))
    codes, names = groups.encode({"site": site.astype(object)}, bins="site=each").attributes["site"]
    assert len(names) == 1000
    assert codes.min() == 0


def test_spellings_that_differ_in_case_or_blanks_are_one_group_and_are_said():
    sex = ["F", "f", "F ", "M", "M", "F", None, "-", "n/a", "Unknown"]
    table = groups.encode({"sex": sex})
    codes, names = table.attributes["sex"]
    assert (names, codes.tolist()) == (["F", "M"], [0, 0, 0, 1, 1, 0, -1, -1, -1, -1])
    missing, merged = table.notes
    assert missing.startswith("sex: 4 rows are missing: ")
    assert all(word in missing for word in ("'-' (1 row)", "'n/a' (1 row)", "blank"))
    assert merged == "sex: 'F' (2 rows), 'f' (1 row), 'F ' (1 row) are one group, 'F'"


@pytest.mark.parametrize(
    "values", [[7, "7", 7.0, "7 ", "7.0", 8], ["7", "7", "7.00", "7.", " 7", "8"]]
)
def test_ways_to_write_a_number_are_one_group_and_one_patient(values):
    codes, names = groups.encode({"a": values}).attributes["a"]
    assert (codes.tolist(), names) == ([0, 0, 0, 0, 0, 1], ["7", "8"])
    data = collect([0, 1] * 3, [0.5] * 6, {"g": list("ababab")}, cluster=values)
    assert data.patients.tolist() == [0, 0, 0, 0, 0, 1]


def test_leading_zeros_make_another_patient():
    data = collect(LABELS, SCORES, SEX, cluster=["007", "7", "7.0", "007 "])
    assert data.patients.tolist() == [0, 1, 1, 0]


def test_the_missing_are_a_group_where_they_are_kept():
    region = ["NA", "EU", "NA", "EU"]
    kept = groups.encode({"region": region}, keep_na=True)
    assert kept.attributes["region"][1] == ["EU", "NA"]
    assert kept.notes == []
    kept = groups.encode({"a": [1.5, None, "None", 70]}, bins="a=40", keep_na=True)
    codes, names = kept.attributes["a"]
    assert (codes.tolist(), names) == ([0, 2, 2, 1], ["<40", "≥40", "None"])
    asked = groups.encode({"history": ["None", "asthma"]}).notes
    assert "if 'None' is an answer" in asked[0]


def test_further_words_for_missing_are_declared():
    ages = [-1, 20, 50, 70]
    with pytest.raises(UserError, match="'a' holds -1 among numbers that are not negative"):
        groups.encode({"a": ages})
    with pytest.raises(UserError, match="holds -1 among numbers"):
        groups.encode({"a": ages}, bins="a=40")
    codes, names = groups.encode({"a": ages}, bins="a=40", missing=("-1",)).attributes["a"]
    assert (codes.tolist(), names) == ([-1, 0, 1, 1], ["<40", "≥40"])
    assert groups.encode({"a": ages}, bins="a=each").attributes["a"][1] == ["-1", "20", "50", "70"]
    assert groups.encode({"z": [-1.0, -2.0, 1.0]}).attributes["z"][1] == ["-2", "-1", "1"]


def test_a_letter_and_its_word_are_named():
    notes = groups.encode({"sex": ["F", "Female", "M"]}).notes
    assert notes == ["sex: 'F', 'Female' are different groups; if they are one, write them alike"]
    assert groups.encode({"blood": ["A", "AB", "B", "O"]}).notes == []


def test_truth_values_of_every_program_are_labels_and_counts_are_those_of_rows():
    for yes, no in (("TRUE", "FALSE"), ("True", "False"), ("true", "false"), (True, False)):
        assert binary_labels([no, yes, yes, no])[0].tolist() == LABELS
    with pytest.raises(UserError, match=r"labels are 'no' \(3 rows\), 'yes' \(1 row\): say"):
        binary_labels(["no", "yes", "no", "no"])
    labels, facts = binary_labels(["Yes", "yes", "no", "NO"], "yes")
    assert labels.tolist() == [1, 1, 0, 0]
    with pytest.raises(UserError, match="the label of 2 rows is '-'"):
        binary_labels(["+", "-", "-"], "+")


def test_two_columns_of_one_name_are_refused():
    twice = pd.DataFrame([["F", "M"]] * 4, columns=["sex", "sex"])
    with pytest.raises(UserError, match="two columns of the groups are called 'sex'"):
        groups.encode(twice)


def test_a_column_of_numbers_is_read_with_its_missing_cells():
    table = pd.DataFrame({"p": ["0.5", "NA", " 1", ""], "q": ["0.1", "x", "0.2", "0.3"]})
    np.testing.assert_array_equal(
        tables.number_column(table, "p", "--score"), [0.5, np.nan, 1, np.nan]
    )
    with pytest.raises(UserError, match="no numbers in 'x' \\(1 row\\), first in row 2"):
        tables.number_column(table, "q", "--score")


def test_metadata_are_joined_by_key():
    predictions, people = (
        pd.DataFrame({"id": ["1", "2.0", "9"], "p": [1, 2, 3]}),
        pd.DataFrame({"who": [2, 1], "sex": ["M", "F"], "p": [2, 1]}),
    )
    joined, facts = tables.join(predictions, people, "id=who")
    assert joined["sex"].tolist()[:2] == ["F", "M"]
    assert joined["sex"].isna()[2]
    assert joined.columns.tolist() == ["id", "p", "sex"]
    assert facts == {"rows without metadata": 1}


@pytest.mark.parametrize(
    ("people", "on", "message"),
    [
        ({"id": ["1", "1"], "sex": ["F", "M"]}, "id", "more than one row for id '1'"),
        ({"id": ["8"], "sex": ["F"]}, "id", "no id of the predictions"),
        ({"id": ["1"], "p": ["7"]}, "id", "column 'p' is in both tables and differs"),
        ({"idd": ["1"], "sex": ["F"]}, "id", "did you mean 'idd'"),
    ],
)
def test_joins_that_would_be_guesses_are_refused(people, on, message):
    with pytest.raises(UserError, match=message):
        tables.join(pd.DataFrame({"id": ["1", "2"], "p": ["5", "6"]}), pd.DataFrame(people), on)


def test_settings_that_do_not_exist_or_cannot_be_are_named():
    from fairjax.auditing import present

    for options, message in [
        ({"n_bot": 3}, "unknown setting 'n_bot'; did you mean 'n_boot'"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"interval": "bcaa"}, "did you mean 'bca'"),
        ({"metrics": ("auk",)}, "did you mean 'auc'"),
        ({"n_permutations": 1.5}, "n_permutations must be a whole number"),
    ]:
        with pytest.raises(UserError, match=message):
            present.settings(**options)


def test_models_come_from_dicts_and_tables():
    assert list(inputs.by_model(pd.DataFrame({"x": [1], "y": [2]}))) == ["x", "y"]
    assert list(inputs.by_model({"x": [1]})) == ["x"]
    assert list(inputs.by_model([1, 2])) == ["score"]
