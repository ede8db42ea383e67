"""What is planted in the phantoms is there, what is not planted is not, and everything is the same
every time.
"""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fairjax.datasets.phantoms import MAX_IMAGES, PhantomConfig, cohort, recorded_auc, render, write
from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_json

LARGE = PhantomConfig(n_patients=40_000, images_per_patient=(1, 1))


def auc(score: np.ndarray, label: np.ndarray) -> float:
    rank = pd.Series(score).rank().to_numpy()
    n_positive = label.sum()
    return (rank[label == 1].sum() - n_positive * (n_positive + 1) / 2) / (
        n_positive * (len(label) - n_positive)
    )


def share_error(p: float, n: int) -> float:
    """Four standard errors of a share."""
    return 4 * np.sqrt(p * (1 - p) / n)


def test_the_same_config_gives_the_same_table_and_pixels_in_another_process():
    config = PhantomConfig(n_patients=40, seed=3)
    program = (
        "from fairjax.datasets.phantoms import *; import hashlib\n"
        "config = PhantomConfig(n_patients=40, seed=3)\n"
        "print(hashlib.sha256(b''.join(render(config, i).tobytes() for i in cohort(config)['image'])).hexdigest())"
    )
    here, there = (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert here == there
    table = cohort(config)
    assert all((table[name] == column).all() for name, column in cohort(config).items())


def test_images_differ_between_seeds_patients_and_views():
    config = PhantomConfig(n_patients=2, images_per_patient=(2, 2))
    images = [render(config, name) for name in cohort(config)["image"]]
    images += [
        render(dataclasses.replace(config, seed=1), name) for name in cohort(config)["image"]
    ]
    assert len({image.tobytes() for image in images}) == 8
    assert {(image.shape, image.dtype.name) for image in images} == {((64, 64), "uint8")}


def test_a_patient_stays_the_same_when_the_cohort_grows():
    small, large = PhantomConfig(n_patients=50), PhantomConfig(n_patients=500)
    few, many = cohort(small), cohort(large)
    rows = len(few["image"])
    assert all((many[name][:rows] == column).all() for name, column in few.items())
    np.testing.assert_array_equal(render(small, few["image"][-1]), render(large, few["image"][-1]))


def test_shares_and_images_per_patient_are_as_configured():
    shares = {
        "sex": {"female": 0.7, "male": 0.3},
        "age": {"20-39": 0.2, "40-79": 0.8},
        "site": {"B": 0.9, "D": 0.1},
    }
    config = PhantomConfig(n_patients=20_000, images_per_patient=(1, 4), shares=shares)
    table = pd.DataFrame(cohort(config))
    patients = table.drop_duplicates("patient")
    assert len(patients) == 20_000
    for column, group, share in [("sex", "female", 0.7), ("site", "D", 0.1)]:
        assert (patients[column] == group).mean() == pytest.approx(
            share, abs=share_error(share, 20_000)
        )
    assert patients["age"].between(20, 39).mean() == pytest.approx(
        0.2, abs=share_error(0.2, 20_000)
    )
    assert set(patients["age"]) == set(range(20, 80))
    counts = table["patient"].value_counts()
    assert set(counts) == {1, 2, 3, 4}
    assert counts.mean() == pytest.approx(2.5, abs=4 * np.sqrt(1.25 / 20_000))


@pytest.mark.parametrize("attribute", ["sex", "age", "site"])
def test_planted_differences_are_found_in_the_groups_they_were_planted_in(attribute):
    group = {"sex": "female", "age": "60-89", "site": "B"}[attribute]
    shifts = {"prevalence": 0.1, "lesion_contrast": -0.06, "label_noise": 0.08}
    config = dataclasses.replace(LARGE, planted={attribute: {group: shifts}})
    table = pd.DataFrame(cohort(config))
    inside = table["age"] >= 60 if attribute == "age" else table[attribute] == group
    for rows, extra in [(inside, 1), (~inside, 0)]:
        part = table[rows]
        prevalence = config.prevalence + extra * shifts["prevalence"]
        noise = config.label_noise + extra * shifts["label_noise"]
        assert part["true_label"].mean() == pytest.approx(
            prevalence, abs=share_error(prevalence, len(part))
        )
        assert (part["label"] != part["true_label"]).mean() == pytest.approx(
            noise, abs=share_error(noise, len(part))
        )
        contrast = part.loc[part["true_label"] == 1, "lesion_contrast"]
        assert contrast.mean() == pytest.approx(
            config.lesion_contrast + extra * shifts["lesion_contrast"], abs=0.002
        )
    assert (table.loc[table["true_label"] == 0, "lesion_contrast"] == 0).all()


def test_by_default_age_carries_nothing_and_sex_does():
    table = pd.DataFrame(cohort(LARGE))
    table["wrong"] = table["label"] != table["true_label"]
    for by, differs in [(table["age"] >= 60, False), (table["sex"] == "female", True)]:
        noise = table.groupby(by)["wrong"].mean()
        contrast = table[table["true_label"] == 1].groupby(by)["lesion_contrast"].mean()
        assert (abs(noise[True] - noise[False]) > 0.01) == differs
        assert (abs(contrast[True] - contrast[False]) > 0.005) == differs


def observer(config: PhantomConfig) -> pd.DataFrame:
    """A reader told where to look: brightness of each chest there (the difference that its lesion
    makes, as a filter).
    """
    table = pd.DataFrame(cohort(config))
    scores = []
    for name, present in zip(table["image"], table["true_label"]):
        with_lesion, without = (
            render(config, name, lesion=lesion).astype(float) for lesion in (True, False)
        )
        template = with_lesion - without
        inside = template > 0.5 * template.max()
        near = (template > 0.02 * template.max()) & ~inside
        image = with_lesion if present else without
        scores.append(image[inside].mean() - image[near].mean())
    return table.assign(score=scores)


def test_the_lesion_is_where_the_pair_differs_and_nowhere_else():
    config = PhantomConfig(n_patients=30, planted={})
    table = cohort(config)
    for name, present in zip(table["image"], table["true_label"]):
        with_lesion, without = (
            render(config, name, lesion=lesion).astype(int) for lesion in (True, False)
        )
        np.testing.assert_array_equal(render(config, name), with_lesion if present else without)
        assert 0.005 < (with_lesion - without > 5).mean() < 0.15


def test_a_fainter_lesion_is_harder_to_see_and_without_it_women_and_men_are_alike():
    sizes = {
        "n_patients": 800,
        "images_per_patient": (1, 1),
        "label_noise": 0.0,
        "lesion_contrast": 0.14,
    }
    planted = observer(
        PhantomConfig(**sizes, planted={"sex": {"female": {"lesion_contrast": -0.07}}})
    )
    fair = observer(PhantomConfig(**sizes, planted={}))

    def gap(table, by):
        a, b = (table[by], table[~by])
        return auc(b["score"], b["label"]) - auc(a["score"], a["label"])

    assert gap(planted, planted["sex"] == "female") > 0.08
    assert abs(gap(planted, planted["age"] >= 60)) < 0.05
    assert abs(gap(fair, fair["sex"] == "female")) < 0.05


@pytest.mark.parametrize(("prevalence", "noise"), [(0.5, 0.1), (0.2, 0.05), (0.4, 0.0)])
def test_label_noise_lowers_the_auc_as_the_formula_says(prevalence, noise):
    rng = np.random.default_rng(0)
    truth = rng.random(200_000) < prevalence
    score = rng.standard_normal(len(truth)) + 1.5 * truth
    recorded = truth ^ (rng.random(len(truth)) < noise)
    assert auc(score, recorded) == pytest.approx(
        recorded_auc(auc(score, truth), prevalence, noise), abs=0.004
    )


def test_a_picture_keeps_its_anatomy_at_another_size():
    small, large = (
        PhantomConfig(n_patients=5, image_size=64),
        PhantomConfig(n_patients=5, image_size=128),
    )
    for name in cohort(small)["image"]:
        halved = render(large, name).reshape(64, 2, 64, 2).mean((1, 3))
        assert np.corrcoef(halved.ravel(), render(small, name).ravel())[0, 1] > 0.95


def test_a_cohort_on_disk_is_the_cohort(tmp_path):
    config = PhantomConfig(n_patients=6)
    table = pd.read_csv(write(config, tmp_path))
    expected = cohort(config)
    assert list(table.columns) == list(expected)
    for name in ("patient", "sex", "age", "site", "label", "true_label"):
        assert (table[name] == expected[name]).all()
    for path, name in zip(table["image"], expected["image"]):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / path)), render(config, name))


def test_equal_configs_have_equal_json_and_unequal_ones_have_not():
    one = PhantomConfig(shares={"sex": {"male": 0.5, "female": 0.5}}, images_per_patient=[1, 2])
    assert hash_json(dataclasses.asdict(one)) == hash_json(dataclasses.asdict(PhantomConfig()))
    assert hash_json(dataclasses.asdict(one)) != hash_json(
        dataclasses.asdict(PhantomConfig(planted={}))
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shares": {"sexx": {}}}, "did you mean 'sex'"),
        ({"shares": {"sex": {"female": 0.5, "man": 0.5}}}, "did you mean 'male'"),
        ({"shares": {"sex": {"female": 0.5, "male": 0.6}}}, "sum of shares.sex is 1.1"),
        ({"shares": {"age": {"old": 1.0}}}, "no range of whole years"),
        ({"planted": {"sex": {"female": {"contrast": -0.1}}}}, "did you mean 'lesion_contrast'"),
        ({"planted": {"age": {"60+": {"label_noise": 0.1}}}}, "did you mean '60-89'"),
        ({"planted": {"sex": {"male": {"prevalence": 0.7}}}}, "prevalence in some group is 1.1"),
        ({"images_per_patient": (1, MAX_IMAGES + 1)}, "between 1 and 16"),
        ({"n_patients": 0}, "n_patients is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(options, says):
    with pytest.raises(UserError, match=says):
        PhantomConfig(**options)


@pytest.mark.parametrize("name", ["x", "p000009-0", "p000000-2", "p000000", "p-1-0"])
def test_an_image_that_the_cohort_has_not_is_refused(name):
    with pytest.raises(UserError, match="no phantom is called"):
        render(PhantomConfig(n_patients=9), name)
