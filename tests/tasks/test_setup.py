"""From the words of a configuration to datasets and splits; what does not fit is one line, before
anything is computed.
"""

import numpy as np
import pytest

from fairjax.configs import common
from fairjax.models.preprocess import compat
from fairjax.models.zoo import MODELS
from fairjax.tasks import setup as experiment
from fairjax.utils.errors import UserError


def config(dataset="synthetic", **words):
    made = common.base(dataset)
    made.dataset.update(words)
    return made.to_dict()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"split": "kfolds"}, "unknown dataset.split 'kfolds'; did you mean 'kfold'"),
        ({"pool": "median"}, "unknown dataset.pool 'median'"),
        ({"slices": -1}, "dataset.slices must be at least 0"),
        ({"folds": 1}, "dataset.folds must be at least 2"),
        ({"middle": 0.0}, "dataset.middle must be a share above 0"),
    ],
)
def test_settings_of_datasets_that_do_not_fit_are_refused(words, says):
    with pytest.raises(UserError, match=says):
        experiment.check(config(**words))


def test_the_words_of_a_split_reach_it():
    words = {"split": "kfold", "folds": 3, "fold": 1, "n_patients": 300}
    dataset, _ = experiment.load_dataset(config(**words))
    tests = [
        experiment.split_dataset(config(**words | {"fold": fold}), dataset) == "test"
        for fold in range(3)
    ]
    assert (np.sum(tests, axis=0) == 1).all()
    site = experiment.split_dataset(
        config(**words | {"split": "leave_one_out", "site": "site", "hold_out": "B"}), dataset
    )
    assert ((site == "test") == (dataset.table["site"] == "B")).all()


def test_every_dataset_of_the_catalog_takes_the_settings_it_is_given(tmp_path):
    for name in ("ham10000", "chexpert", "kits23", "covid_ct_md"):
        with pytest.raises(UserError, match=r"no (train|HAM10000_metadata|Clinical-data|kits23)"):
            experiment.load_dataset(config(name, root=str(tmp_path)))


def test_an_attribute_of_a_file_that_is_not_there_names_the_file(tmp_path):
    rows = ["Path,Sex,Age,No Finding"] + [
        f"a.jpg,{sex},{age},{y}" for sex in ("Male", "Female") for age in (20, 80) for y in (0, 1)
    ]
    text = "\n".join(rows).replace("a.jpg", "patient1/a.jpg")
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "patient1").mkdir()
    (tmp_path / "patient1" / "a.jpg").touch()
    settings = config("chexpert", root=str(tmp_path))
    assert experiment.load_dataset(settings)[1] == ["sex", "age"]
    with pytest.raises(
        UserError, match=r"attribute 'race' needs CHEXPERT DEMO\.xlsx, which is not in"
    ):
        experiment.load_dataset(settings | {"attributes": ("sex", "race")})


def test_images_are_preprocessed_as_the_model_or_as_fairmedfm_does():
    config = common.base("synthetic")
    config.model.name = "phantom_vit"
    config.model.image_size = 64
    own, _ = experiment.load_encoder(config)
    config.model.preprocess = "compat"
    published, card = experiment.load_encoder(config)
    assert own.preprocess == MODELS["phantom_vit"].preprocess
    assert published.preprocess == compat(None).replace(size=64)
    assert card["preprocess"]["resize"] == "shorter"
    assert own.key != published.key  # other embeddings


def test_an_unknown_preprocessing_is_refused():
    config = common.base("synthetic")
    config.model.preprocess = "imagenet"
    with pytest.raises(UserError, match="model.preprocess"):
        experiment.check(config)
