"""Every recorded output of the original models, through the real path: converter -> Orbax -> `models.load`."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden_files import Recording, recordings, recordings_of, relative_error

from converters.convert import convert
from fairjax import models
from fairjax.models.architectures import override
from fairjax.models.checkpoint import build_abstract, state_dict, with_arrays
from fairjax.models.preprocess import Preprocess

TOLERANCE = 1e-5  # relative L2, float32

# Recorded output -> where our module computes it: a path in `intermediates`, or a function of all of them.
CLIP_OUTPUTS = {
    "vision_embeddings_after_ln_pre": "vision.embed",
    "vision_embeddings_after_pre_layrnorm": "vision.embed",
    "vision_block0": "vision.encoder.blocks.0",
    "vision_last_hidden_state_pre_ln_post": "vision.encoder",
    "vision_last_hidden_state_pre_post_layernorm": "vision.encoder",
    "image_pooled": "pool_image",
    "image_features": "encode_image",
    "text_block0": "text.encoder.blocks.0",
    "text_last_hidden_state_after_ln_final": "text",
    "text_last_hidden_state": "text",
    "text_pooled": "pool_text",
    "text_features": "encode_text",
    "text_features_no_mask": "encode_text_without_mask",
    "logits_per_image": "logits",
    "fairmedfm_lp_feature": "probe_features",
    "fairmedfm_zeroshot_logits": "zero_shot_logits",
}
VIT_OUTPUTS = {
    "embeddings": "embed",
    "block0": "encoder.blocks.0",
    "x_prenorm": "encoder",
    "last_hidden_state": "norm",
    "image_pooled": "encode_image",
    "image_pooled_size_interp": "encode_image_at_exact_ratio",
    "patch_tokens": "patch_tokens",
    "fairmedfm_lp_feature": "probe_features",
    "interpolated_pos_embed": "positions",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Recording -> its module, converted and loaded once."""
    cache = {}

    def load(recording: Recording, dtype=None) -> nnx.Module:
        if recording.folder not in cache:
            out = tmp_path_factory.mktemp("converted") / "model"
            convert(recording.row.name, recording.weights_file, out, recording.folder / "config.json")
            cache[recording.folder] = out
        return models.load(cache[recording.folder], dtype)

    return load


def run(module: nnx.Module, function, *args):
    """`function(module, *args)`, compiled, in full float32."""
    graph, state = nnx.split(module)
    with jax.default_matmul_precision("highest"):
        return jax.jit(lambda state, *args: function(nnx.merge(graph, state), *args))(state, *args)


def images_of(io, suffix: str = ""):
    return jnp.asarray(io[f"in.pixel_values{suffix}"].transpose(0, 2, 3, 1))


def clip_outputs(module, images, ids, mask):
    ours = models.intermediates(module.probe_features, images)
    ours |= models.intermediates(module.encode_image, images) | models.intermediates(module.encode_text, ids, mask)
    image, text = ours["encode_image"], ours["encode_text"]
    return ours | {
        "encode_text_without_mask": module.encode_text(ids),
        "logits": module.logits(image, text),
        "zero_shot_logits": module.zero_shot_logits(image, text),
    }


def vit_outputs(module, images):
    ours = models.intermediates(module.probe_features, images)
    ours |= {"patch_tokens": ours["norm"][:, module.n_prefix :], "positions": ours["positions"][None]}
    return ours


def assert_all_equal(io, table, ours, suffix: str = ""):
    """Compares every `out.*` with this suffix, and requires that each is known."""
    found = {re.fullmatch(r"out\.(\w+?)((?:_\d+x\d+)?)", name): io[name] for name in io if name.startswith("out.")}
    recorded = {match[1]: theirs for match, theirs in found.items() if match[2] == suffix}
    assert recorded
    errors = {name: relative_error(ours[table[name]], theirs) for name, theirs in recorded.items()}
    assert max(errors.values()) <= TOLERANCE, errors


def name_of(recording: Recording) -> str:
    return recording.folder.name


@pytest.mark.parametrize("recording", recordings_of("clip"), ids=name_of)
def test_clip_equals_the_original(recording, loaded):
    io = recording.io()
    mask = io.get("in.attention_mask")
    ours = run(loaded(recording), clip_outputs, images_of(io), io["in.input_ids"], mask)
    assert_all_equal(io, CLIP_OUTPUTS, ours)


@pytest.mark.parametrize("recording", recordings_of("vit"), ids=name_of)
def test_vit_equals_the_original_at_every_recorded_size(recording, loaded):
    io, module = recording.io(), loaded(recording)
    suffixes = [name.removeprefix("in.pixel_values") for name in io if name.startswith("in.pixel_values")]
    exact = build_abstract("vit", override(module.config, {"resize_offset": 0.0}))
    exact = with_arrays(exact, state_dict(module))
    for suffix in suffixes:
        ours = run(module, vit_outputs, images_of(io, suffix))
        ours["encode_image_at_exact_ratio"] = run(exact, lambda m, x: m.encode_image(x), images_of(io, suffix))
        assert_all_equal(io, VIT_OUTPUTS, ours, suffix)


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


@pytest.mark.parametrize("recording", recordings(), ids=name_of)
def test_bfloat16_points_the_same_way(recording, loaded):
    io = recording.io()
    images = jnp.asarray(io["image"].transpose(0, 2, 3, 1)) if "image" in io else images_of(io)
    exact, rounded = (
        run(loaded(recording, dtype), lambda module, x: module.encode_image(x), images)
        for dtype in (None, jnp.bfloat16)
    )
    assert exact.dtype == rounded.dtype == jnp.float32
    cosines = jnp.sum(exact * rounded, axis=1) / jnp.linalg.norm(exact, axis=1) / jnp.linalg.norm(rounded, axis=1)
    assert float(cosines.min()) > 0.999
    assert relative_error(rounded, exact) > 1e-5  # it did compute in bfloat16
