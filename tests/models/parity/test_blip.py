"""BLIP's and BLIP-2's towers, logits and image-text matching equal the original's."""

from __future__ import annotations

import pytest
from helpers.golden import recordings_of
from helpers.parity import assert_all_equal, images_of, name_of, run

from fairjax import models
from fairjax.models.clip import normalized

# Recorded output -> where our module computes it: a path in `intermediates`, or one of those added
# below.
BLIP_OUTPUTS = {
    "vision_embeddings": "vision.embed",
    "vision_block0": "vision.encoder.blocks.0",
    "image_embeds": "vision",
    "vision_pooler_output_ln_twice": "normed_twice",
    "image_pooled": "vision.encode_image",
    "image_features": "encode_image",
    "image_embeds_proj": "projected_tokens",
    "text_embeddings": "text.embed",
    "text_block0": "text.layers.0",
    "text_last_hidden_state": "last_text_layer",
    "text_features": "encode_text",
    "similarity": "similarity",
    "itm_score_pairs": "match",
    "fairmedfm_lp_feature": "probe_features",
    "fairmedfm_zeroshot_logits": "zero_shot_logits",
}
BLIP2_OUTPUTS = {
    "vision_embeddings": "vision.embed",
    "vision_block0": "vision.encoder.blocks.0",
    "vision_last_hidden_state": "vision",
    "vision_last_hidden_state_after_ln_vision": "vision",
    "qformer_layer0_queries": "queries_after_0",
    "qformer_layer1_queries": "queries_after_1",
    "query_output": "query",
    "image_pooled": "probe_features",
    "image_features": "encode_image",
    "text_last_hidden_state": "last_text_layer",
    "text_features": "encode_text",
    "logits_per_image": "similarity",
    "itm_logits_pairs": "match",
    "fairmedfm_lp_feature": "probe_features",
    "fairmedfm_zeroshot_logits": "zero_shot_logits",
}


def common_outputs(module, images, ids, mask):
    ours = models.intermediates(module.probe_features, images)
    ours |= models.intermediates(module.encode_image, images)
    seen = {
        f"queries_after_{i}": ours[name] for i in (0, 1) if (name := f"text.layers.{i}") in ours
    }
    ours |= models.intermediates(module.encode_text, ids, mask) | seen
    image, text = ours["encode_image"], ours["encode_text"]
    ours |= {
        "last_text_layer": module.text(ids, mask),
        "similarity": module.similarity(image, text),
        "zero_shot_logits": module.zero_shot_logits(image, text),
    }
    if module.matching is not None:  # image i with text i
        ours["match"] = module.match(images, ids[: len(images)], mask[: len(images)])
    return ours


def blip_outputs(module, images, ids, mask):
    ours = common_outputs(module, images, ids, mask)
    tokens = module.vision(images)
    return ours | {
        "vision": tokens,
        "normed_twice": module.vision.norm(tokens[:, 0]),
        "projected_tokens": normalized(module.visual_projection(tokens)),
    }


@pytest.mark.parametrize("recording", recordings_of("blip"), ids=name_of)
def test_blip_equals_the_original(recording, loaded):
    io = recording.io()
    ours = run(
        loaded(recording), blip_outputs, images_of(io), io["in.input_ids"], io["in.attention_mask"]
    )
    assert_all_equal(io, BLIP_OUTPUTS, ours)


@pytest.mark.parametrize("recording", recordings_of("blip2"), ids=name_of)
def test_blip2_equals_the_original(recording, loaded):
    io = recording.io()
    ours = run(
        loaded(recording),
        common_outputs,
        images_of(io),
        io["in.input_ids"],
        io["in.attention_mask"],
    )
    assert_all_equal(io, BLIP2_OUTPUTS, ours)
