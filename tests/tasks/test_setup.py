"""From sections to datasets and splits."""

import dataclasses

import numpy as np
import pytest

from fairjax.configs import common
from fairjax.models.preprocess import compat
from fairjax.models.zoo import MODELS
from fairjax.tasks import setup
from fairjax.tasks.config import from_dict
from fairjax.tasks.sections import ModelConfig
from fairjax.tasks.workdir import WorkDir
from fairjax.utils.errors import UserError


def config(dataset="synthetic", **changes):
    made = common.base(dataset)
    made.dataset.update(changes)
    return from_dict(made.to_dict())


def test_the_settings_of_a_split_reach_it():
    options = {"split": "kfold", "folds": 3, "fold": 1, "n_patients": 300}
    dataset = setup.load_dataset(config(**options))

    def split(**changes):
        return setup.split_dataset(config(**options | changes).dataset, 0, dataset)

    tests = [split(fold=fold) == "test" for fold in range(3)]
    assert (np.sum(tests, axis=0) == 1).all()
    site = split(split="leave_one_out", site="site", hold_out="B")
    assert ((site == "test") == (dataset.table["site"] == "B")).all()


def test_every_dataset_of_the_catalog_takes_the_settings_it_is_given(tmp_path):
    for name in ("ham10000", "chexpert", "kits23", "covid_ct_md"):
        with pytest.raises(UserError, match=r"no (train|HAM10000_metadata|Clinical-data|kits23)"):
            setup.load_dataset(config(name, root=str(tmp_path)))


def test_an_attribute_of_a_file_that_is_not_there_names_the_file(tmp_path):
    rows = ["Path,Sex,Age,No Finding"] + [
        f"a.jpg,{sex},{age},{y}" for sex in ("Male", "Female") for age in (20, 80) for y in (0, 1)
    ]
    text = "\n".join(rows).replace("a.jpg", "patient1/a.jpg")
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "patient1").mkdir()
    (tmp_path / "patient1" / "a.jpg").touch()
    settings = config("chexpert", root=str(tmp_path))
    assert {"sex", "age"} <= set(setup.load_dataset(settings).attributes)
    with pytest.raises(
        UserError, match=r"attribute 'race' needs CHEXPERT DEMO\.xlsx, which is not in"
    ):
        setup.load_dataset(dataclasses.replace(settings, attributes=("sex", "race")))


def test_a_dataset_may_have_another_name_in_results():
    assert setup.load_dataset(config(n_patients=100, alias="mine")).name == "mine"


def test_images_are_preprocessed_as_the_model_or_as_fairmedfm_does():
    cfg = ModelConfig(name="phantom_vit", image_size=64)
    own, _ = setup.load_encoder(cfg, "synthetic")
    published, card = setup.load_encoder(dataclasses.replace(cfg, preprocess="compat"), "synthetic")
    assert own.preprocess == MODELS["phantom_vit"].preprocess
    assert published.preprocess == compat(None).replace(size=64)
    assert card["preprocess"]["resize"] == "shorter"
    assert own.key != published.key  # other embeddings


def test_what_was_missing_in_a_table_is_said_before_a_run_and_in_its_log(tmp_path, capsys):
    sexes = ["F", "M", "f", "NA", "M", "F", "M", "F"]
    rows = [f"{i}.png,{i % 2},{sex}" for i, sex in enumerate(sexes)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,sex", *rows]))
    for i in range(len(sexes)):
        (tmp_path / f"{i}.png").touch()
    made = common.base("table")
    made.dataset.update(root=str(tmp_path), table="t.csv")
    made.update(attributes=("sex",), evaluation={"one_class": "report"})
    dataset = setup.load_dataset(from_dict(made.to_dict()))
    assert "sex: 1 row is missing: 'NA'" in setup.notes_of(dataset)["notes"]
    WorkDir(tmp_path, {}).notes(dataset.info["notes"])
    assert "note: sex: 1 row is missing" in capsys.readouterr().out
    assert setup.notes_of(setup.load_dataset(config(n_patients=300))) == {}
