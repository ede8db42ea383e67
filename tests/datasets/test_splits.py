import dataclasses

import numpy as np
import pytest

from fairjax import datasets
from fairjax.datasets.splits import split
from fairjax.errors import UserError


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
    assert [shares[name] for name in ("train", "validation", "test")] == pytest.approx([0.5, 0.2, 0.3], abs=0.002)
    prevalence = patients.groupby("side")["label"].mean()
    assert prevalence.max() - prevalence.min() < 0.02


def test_every_side_has_its_share_of_every_group_and_class(data):
    side = split(data, (0.5, 0.2, 0.3))
    patients = data.table.assign(side=side).drop_duplicates("patient")
    for attribute in ("sex", "age", "site"):
        counts = patients.groupby(["label", attribute, "side"], observed=True).size().unstack()
        shares = counts.div(counts.sum(axis=1), axis=0)
        assert np.abs(shares[["train", "validation", "test"]] - [0.5, 0.2, 0.3]).max().max() < 0.04, attribute


def test_the_split_follows_the_seed_and_not_the_order_of_the_table(data):
    side = split(data)
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = dataclasses.replace(data, table=data.table.iloc[order].reset_index(drop=True))
    assert (split(shuffled) == side[order]).all()
    assert (split(data, seed=1) != side).any()


def test_a_balanced_test_has_equal_patients_per_group_and_class(data):
    natural, balanced = split(data), split(data, test="balanced", balance_on="site")
    patients = data.table.assign(side=balanced).drop_duplicates("patient")
    counts = patients[patients["side"] == "test"].groupby(["site", "label"], observed=True).size().unstack()
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
