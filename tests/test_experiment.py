import pytest

from configs import common
from fairjax import experiment
from fairjax.errors import UserError
from fairjax.models.preprocess import compat
from fairjax.models.zoo import MODELS


@pytest.fixture
def config():
    config = common.base("synthetic")
    config.model.name = "phantom_vit"
    return config


def test_images_are_preprocessed_as_the_model_or_as_fairmedfm_does(config):
    config.model.image_size = 64
    own, _ = experiment.load_encoder(config)
    config.model.preprocess = "compat"
    published, card = experiment.load_encoder(config)
    assert own.preprocess == MODELS["phantom_vit"].preprocess
    assert published.preprocess == compat("synthetic").replace(size=64)
    assert card["preprocess"]["resize"] == "shorter"
    assert own.key != published.key  # other embeddings


def test_an_unknown_preprocessing_is_refused(config):
    config.model.preprocess = "imagenet"
    with pytest.raises(UserError, match="model.preprocess"):
        experiment.check(config)
