"""Vision transformers equal the original at every recorded size."""

from __future__ import annotations

import pytest
from helpers.golden import recordings_of
from helpers.parity import assert_all_equal, images_of, name_of, run

from fairjax import models
from fairjax.models.architectures import override
from fairjax.models.checkpoint import build_abstract, state_dict, with_arrays

VIT_OUTPUTS = {
    "embeddings": "embed",
    "vision_embeddings": "embed",
    "block0": "encoder.blocks.0",
    "vision_block0": "encoder.blocks.0",
    "x_prenorm": "encoder",
    "last_hidden_state": "norm",
    "vision_last_hidden_state": "norm",
    "image_pooled": "encode_image",
    "image_pooled_size_interp": "encode_image_at_exact_ratio",
    "patch_tokens": "patch_tokens",
    "fairmedfm_lp_feature": "probe_features",
    "interpolated_pos_embed": "positions",
}


def vit_outputs(module, images):
    ours = models.intermediates(module.probe_features, images)
    # As it is run: deep stacks in a loop, which the above unrolls.
    ours["probe_features"] = module.probe_features(images)
    ours |= {
        "patch_tokens": ours["norm"][:, module.n_prefix :],
        "positions": ours["positions"][None],
    }
    return ours


@pytest.mark.parametrize("recording", recordings_of("vit"), ids=name_of)
def test_vit_equals_the_original_at_every_recorded_size(recording, loaded):
    io, module = recording.io(), loaded(recording)
    suffixes = [
        name.removeprefix("in.pixel_values") for name in io if name.startswith("in.pixel_values")
    ]
    exact = build_abstract("vit", override(module.config, {"resize_offset": 0.0}))
    exact = with_arrays(exact, state_dict(module))
    for suffix in suffixes:
        ours = run(module, vit_outputs, images_of(io, suffix))
        ours["encode_image_at_exact_ratio"] = run(
            exact, lambda m, x: m.encode_image(x), images_of(io, suffix)
        )
        assert_all_equal(io, VIT_OUTPUTS, ours, suffix)
