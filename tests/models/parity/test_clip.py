"""The towers and logits of CLIP and of what descends from it equal the original's."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from helpers.golden import recordings_of
from helpers.parity import assert_all_equal, images_of, name_of, run

from fairjax import models

# Recorded output -> where our module computes it: a path in `intermediates`, or one of those added
# below.
OUTPUTS = {
    "vision_embeddings": "vision.embed",
    "vision_embeddings_after_ln_pre": "vision.embed",
    "vision_embeddings_after_pre_layrnorm": "vision.embed",
    "vision_block0": "vision.encoder.blocks.0",
    "vision_block1_shifted": "vision.stages.0.blocks.1",
    "vision_stage0_after_merging": "vision.stages.0",
    "vision_last_hidden_state_pre_ln_post": "vision.encoder",
    "vision_last_hidden_state_pre_post_layernorm": "vision.encoder",
    "vision_last_hidden_state": "vision",
    "image_pooled": "pool_image",
    "image_features": "encode_image",
    "image_features_gray": "encode_grey_image",
    "text_embeddings": "text.embed",
    "text_block0": "text.encoder.blocks.0",
    "text_hidden_1": "text.layers.0",
    "text_hidden_2": "text.layers.1",
    "text_last_hidden_state_after_ln_final": "text",
    "text_last_hidden_state": "text",
    "text_pooled": "pool_text",
    "text_features": "encode_text",
    "text_features_no_mask": "encode_text_without_mask",
    "text_features_short": "encode_short_text_without_mask",
    "text_features_short_masked": "encode_short_text",
    "logits_per_image": "logits",
    "fairmedfm_lp_feature": "probe_features",
    "fairmedfm_zeroshot_logits": "zero_shot_logits",
    "fairmedfm_zeroshot_logits_short_masked": "zero_shot_logits_of_short_text",
}
# What these towers call their first block, and a BERT its last one.
ALIASES = {
    "vision.encoder.blocks.0": "vision.stages.0.blocks.0",
    "text.encoder.blocks.0": "text.layers.0",
}


def clip_outputs(module, images, inputs):
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    ours = models.intermediates(module.probe_features, images)
    ours |= models.intermediates(module.encode_image, images) | models.intermediates(
        module.encode_text, ids, mask
    )
    image, text = ours["encode_image"], ours["encode_text"]
    ours |= {name: ours[alias] for name, alias in ALIASES.items() if alias in ours}
    ours |= {
        "text": module.text(ids, mask),
        "encode_grey_image": module.encode_image(jnp.repeat(images[..., :1], 3, axis=-1)),
        "encode_text_without_mask": module.encode_text(ids),
        "logits": module.logits(image, text),
        "zero_shot_logits": module.zero_shot_logits(image, text),
    }
    if "input_ids_short" in inputs:
        short, mask = inputs["input_ids_short"], inputs["attention_mask_short"]
        ours["encode_short_text_without_mask"] = module.encode_text(short)
        ours["encode_short_text"] = module.encode_text(short, mask)
        ours["zero_shot_logits_of_short_text"] = module.zero_shot_logits(
            image, ours["encode_short_text"]
        )
    return ours


@pytest.mark.parametrize("recording", recordings_of("clip"), ids=name_of)
def test_clip_equals_the_original(recording, loaded):
    io = recording.io()
    ours = run(loaded(recording), clip_outputs, images_of(io), texts_of(io))
    for name, theirs in io.items():  # Swin's grid is a sequence there
        path = OUTPUTS.get(name.removeprefix("out."))
        if path in ours and ours[path].ndim == 4:
            ours[path] = ours[path].reshape(theirs.shape)
    assert_all_equal(io, OUTPUTS, ours)


def texts_of(io):
    return {
        name.removeprefix("in."): x
        for name, x in io.items()
        if name.startswith("in.") and "pixel" not in name
    }
