"""MobileSAM's image encoder and preprocessing equal the original's."""

import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import recordings_of, relative_error
from harness import TOLERANCE, name_of, run

from converters.convert import convert
from fairjax import models
from fairjax.models.preprocess import Preprocess


@pytest.mark.parametrize("recording", recordings_of("tinyvit"), ids=name_of)
def test_image_embedding_equals_the_original(recording, loaded):
    io = recording.io()
    images = jnp.asarray(io["image"].transpose(0, 2, 3, 1))
    embedding = run(loaded(recording), lambda module, x: module(x), images)
    assert relative_error(embedding, io["image_embedding"].transpose(0, 2, 3, 1)) <= TOLERANCE
    pooled = run(loaded(recording), lambda module, x: module.encode_image(x), images)
    assert relative_error(pooled, io["image_embedding"].mean(axis=(2, 3))) <= TOLERANCE


@pytest.mark.parametrize("recording", recordings_of("tinyvit"), ids=name_of)
def test_preprocessing_equals_the_original(recording, loaded, tmp_path):
    io = recording.io()
    card = convert(recording.row.name, recording.weights_file, tmp_path / "out", recording.folder / "config.json").card
    preprocess: Preprocess = models.load_preprocess(card)
    raw = [io[name] for name in sorted(io) if name.startswith("raw_image.")]
    for i, image in enumerate(raw):
        np.testing.assert_array_equal(preprocess.resized(image), io[f"resized_image.{i}"])
        np.testing.assert_allclose(preprocess(image), io["image"][i].transpose(1, 2, 0), atol=1e-6)
