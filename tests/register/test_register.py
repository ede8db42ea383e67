"""Registration: what is refused in one line, and what a registered thing can do at once."""

import dataclasses
import importlib.metadata

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from fairjax import datasets, models, register
from fairjax.datasets import catalog
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.rules import Groups
from fairjax.metrics.table import METRICS, Metric, divide
from fairjax.models import zoo
from fairjax.models.functions import FUNCTIONS
from fairjax.training.objectives import METHODS
from fairjax.training.objectives.base import Objective, weighted_mean
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.utils import plugins
from fairjax.utils.errors import UserError

TABLES = (
    *(catalog.SPECS, catalog.LOADERS, zoo.MODELS, FUNCTIONS, METHODS, METRICS, POSTPROCESSORS),
    plugins.CODES,
)


@pytest.fixture(autouse=True)
def tables_as_before():
    before = [dict(table) for table in TABLES]
    yield
    for table, rows in zip(TABLES, before, strict=True):
        table.clear()
        table.update(rows)


def mean_colour(images):
    return images.mean((1, 2))


def load_two(root, size=4):
    table = pd.DataFrame({"image": ["a", "b"], "patient": ["1", "2"], "label": [0, 1]})
    return Dataset("two", table, lambda image: np.zeros((size, size, 3), np.uint8), "pixels")


def squared(step, strength, state):
    return weighted_mean(step.losses**2, step.weights), state


SQUARED = Objective("squared", "squared losses", "made up", squared, grouped=False)
DETECTION = Metric(
    "Detection", lambda t: divide(t.tp, t.total), ("above",), True, (0.0, 1.0), "TP / W"
)


def test_a_function_is_a_model_without_a_checkpoint():
    register.model("mean_colour", mean_colour, image_size=8)
    directory = models.bundled("mean_colour")
    card, module = models.load_card(directory), models.load(directory)
    assert (card["probe_width"], models.load_preprocess(card).size) == (3, 8)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_allclose(module.probe_features(images), images.mean((1, 2)), rtol=1e-6)
    assert zoo.MODELS["mean_colour"].usages == ("linear_probe",)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda images: images.mean(), "makes () of images (2, 8, 8, 3), not (2, d)"),
        (lambda images: images.mean((0, 1)), "makes (8, 3) of images"),
        (lambda images: [images], "makes list of images"),
        (lambda images: images @ jnp.ones(7), "on images (2, 8, 8, 3) fails: TypeError"),
        (lambda images: np.asarray(images).mean((1, 2)), "fails: TracerArrayConversionError"),
    ],
)
def test_a_function_that_gives_no_features_is_refused(function, message):
    with pytest.raises(UserError) as refused:
        register.model("wrong", function, image_size=8)
    assert "model 'wrong'" in str(refused.value)
    assert message in str(refused.value)
    assert "wrong" not in zoo.MODELS


@pytest.mark.parametrize("name", ["clip", "Mine", "my-model", "1st", ""])
def test_a_name_that_is_taken_or_cannot_be_written_is_refused(name):
    with pytest.raises(UserError, match="choose another|a name begins with"):
        register.model(name, mean_colour, image_size=8)


def test_registering_again_replaces_ones_own():
    register.model("mine", mean_colour, image_size=8)
    before = models.load_card(models.bundled("mine"))["weights_sha256"]
    register.model("mine", lambda images: images.max((1, 2)), image_size=8)
    assert models.load_card(models.bundled("mine"))["weights_sha256"] != before


def test_a_loader_is_a_dataset_whose_fingerprint_knows_its_code():
    register.dataset("two", load_two)
    loaded = datasets.load("two", spacing=(), size=2)  # options that it does not take are left out
    assert len(loaded) == 2
    assert loaded.read("a").shape == (2, 2, 3)
    assert loaded.fingerprint not in ("pixels", "")
    register.dataset("two", load_two, version="2")
    assert datasets.load("two").fingerprint != loaded.fingerprint


def test_a_declaration_is_checked():
    spec = catalog.SPECS["isic2017"]
    backwards = {**spec.attributes, "sex": Groups("sex", {"male": ("M",), "female": ("F",)})}
    for wrong, message in (
        (dataclasses.replace(spec, attributes=backwards), "maps values to groups"),
        (dataclasses.replace(spec, attributes={"sex": "sex"}), "needs a rule such as Groups"),
        (dataclasses.replace(spec, label=None, masks=()), "needs a label or masks"),
        (3, "must be a Spec or a function"),
        (lambda: None, "called with a root, fails"),
    ):
        with pytest.raises(UserError, match=message):
            register.dataset("mine", wrong)
    for name in ("isic2017", "synthetic"):
        with pytest.raises(UserError, match="choose another"):
            register.dataset(name, spec)
    register.dataset("mine", spec)
    assert "mine" in catalog.names()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loss": lambda step, strength, state: (step.losses, state)},
            "has shape (2, 6), not (2,)",
        ),
        ({"loss": lambda step, strength, state: step.losses.mean(-1)}, "must return (loss, state)"),
        ({"loss": lambda step, strength: 0}, "its loss fails: TypeError"),
        (
            {"loss": lambda step, strength, state: (step.losses.mean(-1), {"q": strength})},
            "must return the state",
        ),
        ({"state": lambda: {}}, "its state or parameters fails"),
        ({"outputs": lambda groups: "many"}, "outputs(0) fails"),
        ({"name": "erm"}, "choose another"),
    ],
)
def test_an_objective_that_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(UserError) as refused:
        register.objective(dataclasses.replace(SQUARED, **changes))
    assert message in str(refused.value)


def test_every_objective_of_fairjax_could_be_registered():
    for name, row in list(METHODS.items()):
        register.objective(dataclasses.replace(row, name=f"my_{name}"))
    assert plugins.code("objective", "my_erm")
    assert not plugins.code("objective", "erm")


def test_every_metric_and_post_processor_of_fairjax_could_be_registered():
    for name, row in list(METRICS.items()):
        register.metric(f"my_{name}", row)
    for name, row in list(POSTPROCESSORS.items()):
        register.postprocessor(f"my_{name}", row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (DETECTION._replace(needs=("abvoe",)), "did you mean 'above'?"),
        (DETECTION._replace(needs=()), "fails: KeyError"),
        (DETECTION._replace(compute=lambda t: t.tp.mean()), "has shape (), not (3, 2)"),
        ("detection", "must be a fairjax.metrics.table.Metric, not str"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused(row, message):
    with pytest.raises(UserError) as refused:
        register.metric("detection", row)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda rule, scores, codes: scores[0], "must give (2, 12) numbers in [0, 1], not (12,)"),
        (lambda rule, scores, codes: scores - 1, "not (2, 12) in [-0.95, -0.05]"),
        (lambda rule, scores: scores, "fails: TypeError"),
    ],
)
def test_a_post_processor_that_gives_no_scores_is_refused(apply, message):
    row = POSTPROCESSORS["platt"]._replace(apply=apply)
    with pytest.raises(UserError) as refused:
        register.postprocessor("mine", row)
    assert message in str(refused.value)


class EntryPoint:
    def __init__(self, name, loaded):
        self.name, self.value, self.loaded = name, f"package:{name}", loaded

    def load(self):
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_a_broken_plugin_is_one_line_and_the_others_are_loaded_once(monkeypatch, capsys):
    called = []
    points = [
        EntryPoint("gone", ImportError("no module\nnamed gone")),
        EntryPoint("works", lambda: called.append(1)),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    plugins.load.cache_clear()
    plugins.load()
    plugins.load()
    assert called == [1]
    assert (
        capsys.readouterr().err
        == "fairjax: plugin gone (package:gone) failed: no module named gone\n"
    )
