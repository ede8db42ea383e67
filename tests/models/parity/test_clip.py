"""CLIP's towers and logits equal the original's."""

from __future__ import annotations

import pytest
from golden_files import recordings_of
from harness import assert_all_equal, images_of, name_of, run

from fairjax import models

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


def clip_outputs(module, images, ids, mask):
    ours = models.intermediates(module.probe_features, images)
    ours |= models.intermediates(module.encode_image, images) | models.intermediates(module.encode_text, ids, mask)
    image, text = ours["encode_image"], ours["encode_text"]
    return ours | {
        "encode_text_without_mask": module.encode_text(ids),
        "logits": module.logits(image, text),
        "zero_shot_logits": module.zero_shot_logits(image, text),
    }


@pytest.mark.parametrize("recording", recordings_of("clip"), ids=name_of)
def test_clip_equals_the_original(recording, loaded):
    io = recording.io()
    mask = io.get("in.attention_mask")
    ours = run(loaded(recording), clip_outputs, images_of(io), io["in.input_ids"], mask)
    assert_all_equal(io, CLIP_OUTPUTS, ours)
