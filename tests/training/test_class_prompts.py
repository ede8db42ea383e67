"""Classes are described by the dataset or the user; zero-shot scores and heads that begin at
prompts are the model's.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from helpers.golden import recording_of, relative_error
from helpers.tokenizers import write_bert
from scipy.special import softmax

from fairjax import models
from fairjax.converters.convert import convert
from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import prompts
from fairjax.models.tokenizer import read_tokenizer
from fairjax.models.zoo import MODELS
from fairjax.training.class_prompts import (
    class_prompts,
    embed_classes,
    logits_of,
    prototype_constants,
    zero_shot_sweep,
)
from fairjax.training.heads import HEADS
from fairjax.training.store import gather
from fairjax.training.sweep import Features
from fairjax.utils.errors import UserError

SMALL = {"width": 8, "depth": 1, "heads": 2, "mlp_dim": 8}
SIZES = {"train": 3, "validation": 20, "test": 30}


def dataset(**info) -> Dataset:
    return Dataset("made_up", pd.DataFrame({"image": ["a"]}), lambda image: None, "f", info)


def model(name: str):
    """A small model whose scale and bias are not those of its initialisation."""
    text = {"vocab_size": 20, "context_length": 12}
    module = models.build(name, vision=SMALL, text=SMALL | text, embed_dim=8)
    module.logit_scale[...] = jnp.float32(1.3)
    return module


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    x = {side: rng.normal(size=(n, 8)).astype(np.float32) for side, n in SIZES.items()}
    y = {side: rng.integers(0, 2, n) for side, n in SIZES.items()}
    return Features(x, y, np.arange(SIZES["train"]), {"made": "up"})


CLASSES = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
CLASSES /= np.linalg.norm(CLASSES, axis=1, keepdims=True)


def test_what_the_user_says_of_a_class_stands_in_for_what_the_dataset_says():
    known = dataset(prompt="a photo of a {}", classes=["mole", "melanoma"])
    assert class_prompts(known)[0] == ["a photo of a mole", "a photo of a melanoma"]
    texts, classes = class_prompts(known, ["{}", "a {}"], positive=["cancer", "melanoma"])
    assert texts == ["mole", "a mole", "cancer", "a cancer", "melanoma", "a melanoma"]
    np.testing.assert_array_equal(classes, [0, 0, 1, 1, 1, 1])
    for unknown in (dataset(), dataset(prompt="a {}", classes=["", ""])):
        with pytest.raises(UserError, match="made_up does not say how its classes are described"):
            class_prompts(unknown)
    assert class_prompts(dataset(), ["{}"], ["n"], ["p"])[0] == ["n", "p"]


def test_class_embeddings_are_ensembles_of_cached_prompts(tmp_path, monkeypatch):
    module = models.build(
        "medclip",
        vision={"image_size": 28, "embed_dim": 8, "depths": (1,), "heads": (2,)},
        text=SMALL | {"depth": 2, "vocab_size": 20, "positions": 12, "context_length": 12},
        embed_dim=8,
    )
    tokenizer = read_tokenizer(write_bert(tmp_path / "words"), MODELS["medclip"].tokenizer, 12, 20)
    encoder = prompts.TextEncoder(module, tokenizer, {"weights": "w"})
    described = dataset(prompt="a chest x of {}", classes=["normal", "lesion"])
    found = embed_classes(described, encoder, tmp_path, positive=["lesion", "heart"])
    texts = ["a chest x of normal", "a chest x of lesion", "a chest x of heart"]
    unit = prompts.embed_prompts(texts, encoder, tmp_path)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.stack([unit[0], (unit[1] + unit[2]) / np.linalg.norm(unit[1] + unit[2])])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    monkeypatch.delattr(prompts, "_encode")
    np.testing.assert_array_equal(
        embed_classes(described, encoder, tmp_path, positive=["lesion", "heart"]), found
    )


def test_a_zero_shot_sweep_is_one_run_with_the_softmax_of_the_logits(features, tmp_path):
    module = model("siglip")
    logits = dataclasses.replace(
        features, x={side: logits_of(module, CLASSES)(x) for side, x in features.x.items()}
    )
    swept = zero_shot_sweep(logits, CLASSES, tmp_path)
    ((runs, arrays),) = swept
    for side in ("validation", "test"):
        probabilities = softmax(
            np.asarray(module.zero_shot_logits(features.x[side], CLASSES), np.float64), axis=1
        )
        np.testing.assert_allclose(arrays[f"{side}_scores"], probabilities[:, 1][None], rtol=1e-4)
    y = features.y["validation"]
    expected = -np.log(
        np.where(y == 1, arrays["validation_scores"], 1 - arrays["validation_scores"])
    ).mean()
    np.testing.assert_allclose(arrays["validation_loss"], [expected], rtol=1e-4)
    again = zero_shot_sweep(logits, CLASSES, tmp_path)
    assert len(again.runs) == 1
    assert again.folder == gather(swept.folder, runs).folder
    assert zero_shot_sweep(logits, -CLASSES, tmp_path).folder != swept.folder


@pytest.mark.parametrize("name", ["clip", "clip_hf", "siglip"])
def test_a_head_begins_as_the_zero_shot_classifier(name, features):
    module = model(name)
    constants = prototype_constants(module, CLASSES)
    head, x = HEADS["prototypes"], jnp.asarray(features.unit().x["test"])
    fresh = jax.vmap(lambda key: head.init(key, 1, 8))(jax.random.split(jax.random.key(0), 3))
    logits = module.zero_shot_logits(features.x["test"], CLASSES)
    for run in head.logits(fresh | constants, x):
        np.testing.assert_allclose(run, logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["clip", "siglip", "blip_lavis", "blip2_lavis"])
def test_heads_and_scores_are_those_of_the_original_models(name, tmp_path):
    recording = recording_of(name)
    convert(recording.row.name, recording.weights_file, tmp_path / "model", recording.config)
    module, io = models.load(tmp_path / "model"), recording.io()
    images, texts, recorded = (
        io[f"out.{k}"] for k in ("image_features", "text_features", "fairmedfm_zeroshot_logits")
    )
    logits = logits_of(module, texts)(images)
    assert relative_error(logits, recorded) < 1e-5
    if images.ndim == 3:
        with pytest.raises(UserError, match="BLIP2's zero-shot logits are the largest of several"):
            prototype_constants(module, texts[:2])
        return
    head = HEADS["prototypes"]
    constants = prototype_constants(module, texts[:2])
    start = jax.tree.map(lambda a: a[None], head.init(jax.random.key(0), 1, texts.shape[1]))
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    begun = head.logits(start | constants, jnp.asarray(unit))[0]
    scale = np.abs(recorded[:, :2]).max()
    np.testing.assert_allclose(begun, recorded[:, 1] - recorded[:, 0], rtol=1e-4, atol=1e-5 * scale)


def test_models_of_images_alone_have_no_descriptions():
    module = models.build("phantom_vit", **SMALL)
    for make in (logits_of, prototype_constants):
        with pytest.raises(UserError, match="ViT has no text tower"):
            make(module, CLASSES)
