import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from fairjax import datasets
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.splits import export, split
from fairjax.utils.errors import UserError


@pytest.fixture(scope="module")
def data():
    return datasets.load("synthetic", n_patients=2000)


def test_no_patient_stands_on_two_sides(data):
    side = split(data)
    assert data.table.assign(side=side).groupby("patient")["side"].nunique().max() == 1


def test_shares_and_prevalence_are_kept(data):
    side = split(data, (0.5, 0.2, 0.3))
    patients = data.table.assign(side=side).drop_duplicates("patient")
    shares = patients["side"].value_counts(normalize=True)
    assert [shares[name] for name in ("train", "validation", "test")] == pytest.approx(
        [0.5, 0.2, 0.3], abs=0.002
    )
    prevalence = patients.groupby("side")["label"].mean()
    assert prevalence.max() - prevalence.min() < 0.02


def test_every_side_has_its_share_of_every_group_and_class(data):
    side = split(data, (0.5, 0.2, 0.3))
    patients = data.table.assign(side=side).drop_duplicates("patient")
    for attribute in ("sex", "age", "site"):
        counts = patients.groupby(["label", attribute, "side"], observed=True).size().unstack()
        shares = counts.div(counts.sum(axis=1), axis=0)
        assert (
            np.abs(shares[["train", "validation", "test"]] - [0.5, 0.2, 0.3]).max().max() < 0.04
        ), attribute


def test_the_split_follows_the_seed_and_not_the_order_of_the_table(data):
    side = split(data)
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = dataclasses.replace(data, table=data.table.iloc[order].reset_index(drop=True))
    assert (split(shuffled) == side[order]).all()
    assert (split(data, seed=1) != side).any()


def test_a_balanced_test_has_equal_patients_per_group_and_class(data):
    natural, balanced = split(data), split(data, test="balanced", balance_on="site")
    patients = data.table.assign(side=balanced).drop_duplicates("patient")
    counts = (
        patients[patients["side"] == "test"]
        .groupby(["site", "label"], observed=True)
        .size()
        .unstack()
    )
    assert (counts.nunique() == 1).all()
    assert (counts > 0).all().all()
    assert set(balanced[natural != "test"]) == {"train", "validation"}  # only the test side changes
    assert (balanced[natural == "validation"] == "validation").all()


def test_bad_fractions_and_names_are_refused(data):
    with pytest.raises(UserError, match="add up to 1"):
        split(data, (0.5, 0.5, 0.5))
    with pytest.raises(UserError, match="unknown test split"):
        split(data, test="fair")
    with pytest.raises(UserError, match="balance_on"):
        split(data, test="balanced")


def test_a_side_without_both_classes_is_refused(data):
    few = data.take(np.arange(len(data)) < 6)
    with pytest.raises(UserError, match="it needs both classes"):
        split(few)


@st.composite
def cohorts(draw):
    """Any patients, in any order, with images, labels and groups that need not agree within a
    patient.
    """
    n = draw(st.integers(40, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    patients = rng.integers(0, draw(st.integers(20, n)), n)
    table = pd.DataFrame(
        {"image": [f"{i}.png" for i in range(n)], "patient": [f"p{k}" for k in patients]}
    )
    table["label"] = rng.random(n) < draw(st.floats(0.2, 0.8))
    table["label"] = table["label"].astype(int)
    codes = rng.integers(-1, draw(st.integers(1, 4)), n)
    table["site"] = pd.Categorical.from_codes(codes, [f"s{k}" for k in range(4)])
    return Dataset("any", table, None, "")


def sides(data, **options):
    """The side of every image; a cohort of which a side lacks a class is not what is tested."""
    try:
        return split(data, **options)
    except UserError as error:
        if "it needs both classes" not in str(error):
            raise
        reject()


OPTIONS = [{"method": "stratified"}, {"method": "hash"}, {"method": "kfold", "folds": 3, "fold": 2}]
OPTIONS += [{"method": "leave_one_out", "site": "site", "hold_out": "s0"}]


@settings(max_examples=40, deadline=None)
@given(
    data=cohorts(), options=st.sampled_from(OPTIONS), seed=st.integers(0, 9), balanced=st.booleans()
)
def test_no_patient_of_any_cohort_stands_on_two_sides(data, options, seed, balanced):
    test = {"test": "balanced", "balance_on": "site"} if balanced else {}
    side = sides(data, seed=seed, **options, **test)
    assert pd.Series(side).groupby(data.table["patient"].to_numpy()).nunique().max() == 1


@settings(max_examples=40, deadline=None)
@given(data=cohorts(), options=st.sampled_from(OPTIONS[:3]), seed=st.integers(0, 9))
def test_a_balanced_test_of_any_cohort_is_balanced(data, options, seed):
    side = sides(data, seed=seed, test="balanced", balance_on="site", **options)
    people = data.table.assign(
        side=side, positive=data.table.groupby("patient")["label"].transform("max")
    )
    people = people.drop_duplicates("patient").query("side == 'test'")
    assert people["site"].notna().all()
    counts = people.groupby(["positive", "site"], observed=True).size().unstack()
    assert (counts.nunique(axis=1) == 1).all()
    assert counts.notna().all().all()


@settings(max_examples=40, deadline=None)
@given(
    data=cohorts(),
    options=st.sampled_from(OPTIONS[1:]),
    seed=st.integers(0, 9),
    half=st.integers(0, 1),
)
def test_who_joins_or_leaves_moves_nobody_else(data, options, seed, half):
    before = sides(data, seed=seed, **options)
    stays = data.table["patient"].str[1:].astype(int) % 2 == half
    fewer = dataclasses.replace(data, table=data.table[stays].reset_index(drop=True))
    assume(
        stays.any()
        and (options["method"] != "leave_one_out" or (fewer.table["site"] == "s0").any())
    )
    assert (sides(fewer, seed=seed, **options) == before[stays]).all()


@settings(max_examples=40, deadline=None)
@given(data=cohorts(), seed=st.integers(0, 9))
def test_in_a_balanced_split_by_hash_nobody_goes_from_one_side_to_another(data, seed):
    stays = data.table["patient"].str[1:].astype(int) % 3 > 0
    fewer = dataclasses.replace(data, table=data.table[stays].reset_index(drop=True))
    options = {"seed": seed, "method": "hash", "test": "balanced", "balance_on": "site"}
    assume(stays.any())
    before, after = sides(data, **options), sides(fewer, **options)
    moved = before[stays] != after
    assert set(before[stays][moved]) | set(after[moved]) <= {"test", "unused"}


@settings(max_examples=20, deadline=None)
@given(data=cohorts(), options=st.sampled_from(OPTIONS), seed=st.integers(0, 9))
def test_a_split_comes_back_from_its_file(tmp_path_factory, data, options, seed):
    side = sides(data, seed=seed, **options)
    path = tmp_path_factory.mktemp("split") / "split.csv"
    export(data, side, path)
    assert (split(data, method="file", file=str(path)) == side).all()


def test_folds_part_the_patients(data):
    tests = [split(data, method="kfold", folds=4, fold=k) == "test" for k in range(4)]
    assert (np.sum(tests, axis=0) == 1).all()
    assert min(map(np.mean, tests)) > 0.2
    validation = split(data, method="kfold", folds=4, fold=0) == "validation"
    assert validation[~tests[0]].mean() == pytest.approx(0.2, abs=0.03)


def test_hashed_shares_are_those_asked_for(data):
    shares = pd.Series(split(data, (0.5, 0.2, 0.3), method="hash")).value_counts(normalize=True)
    assert [shares[name] for name in ("train", "validation", "test")] == pytest.approx(
        [0.5, 0.2, 0.3], abs=0.04
    )


def test_one_site_is_left_out():
    rows = [(f"p{i}", i % 2, ("A", "B", None)[i % 3]) for i in range(60)]
    rows += [("both", 1, "A"), ("both", 1, "B")]
    table = pd.DataFrame(rows, columns=["patient", "label", "site"])
    table.insert(0, "image", [f"{i}.png" for i in range(len(table))])
    table["site"] = pd.Categorical(table["site"])
    side = split(Dataset("any", table, None, ""), method="leave_one_out", site="site", hold_out="A")
    assert set(side[:60][table["site"][:60] == "A"]) == {"test"}
    assert set(side[:60][table["site"][:60] == "B"]) == {"train", "validation"}
    assert set(side[:60][table["site"][:60].isna()]) == {"unused"}
    assert set(side[60:]) == {"unused"}  # seen at the held-out site and at another


def test_ways_to_split_that_do_not_fit_get_one_line(data, tmp_path):
    path = tmp_path / "split.csv"
    for text, says in (
        ("patient,split\np000000,train\n", "lacks 1999 of 2000 patients"),
        ("patient,split\np000000,train\np000000,test\n", "'p000000' is in two splits"),
        ("patient,split\np000000,held out\n", "unknown split in .*'held out'"),
        ("patient,side\np000000,train\n", "has no column 'split'"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=says):
            split(data, method="file", file=str(path))
    for options, says in (
        ({"method": "random"}, "unknown way to split 'random'"),
        ({"method": "file", "file": "nowhere.csv"}, "does not exist"),
        ({"method": "kfold", "folds": 3, "fold": 3}, "fold must be one of 0 … 2"),
        ({"method": "leave_one_out"}, "give --config.dataset.site"),
        ({"method": "leave_one_out", "site": "hospital"}, "unknown attribute 'hospital'"),
        (
            {"method": "leave_one_out", "site": "site", "hold_out": "Z"},
            "unknown group of site to hold out 'Z'",
        ),
        ({"method": "hash", "test": "balanced"}, "balance_on"),
    ):
        with pytest.raises(UserError, match=says):
            split(data, **options)
