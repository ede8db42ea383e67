"""Towers also run in bfloat16."""

import jax.numpy as jnp
import pytest
from helpers.golden import recordings, relative_error
from helpers.parity import images_of, name_of, run

from fairjax.models.clip import normalized

# Recordings whose towers are built of the same parts as another one's.
SAME_PARTS = (
    *("clip_hf", "pubmedclip", "plip", "medsiglip", "blip_lavis", "blip2_lavis", "rad_dino"),
    *("medsam", "ft_sam", "tiny_sam"),
)
TOWERS = [recording for recording in recordings() if recording.row.name not in SAME_PARTS]


@pytest.mark.parametrize("recording", TOWERS, ids=name_of)
def test_bfloat16_points_the_same_way(recording, loaded):
    io = recording.io()
    images = jnp.asarray(io["image"].transpose(0, 2, 3, 1)) if "image" in io else images_of(io)
    exact, rounded = (
        run(loaded(recording, dtype), lambda module, x: module.encode_image(x), images)
        for dtype in (None, jnp.bfloat16)
    )
    assert exact.dtype == rounded.dtype == jnp.float32
    assert_close_but_rounded(rounded, exact)


@pytest.mark.parametrize(
    "recording", [tower for tower in TOWERS if tower.row.tokenizer], ids=name_of
)
def test_text_in_bfloat16_points_the_same_way(recording, loaded):
    io = recording.io()
    ids, mask = io["in.input_ids"], io.get("in.attention_mask")
    exact, rounded = (
        run(loaded(recording, dtype), lambda module, ids: module.encode_text(ids, mask), ids)
        for dtype in (None, jnp.bfloat16)
    )
    assert exact.dtype == rounded.dtype == jnp.float32
    assert_close_but_rounded(rounded, exact)


def assert_close_but_rounded(rounded, exact):
    cosines = jnp.sum(normalized(exact) * normalized(rounded), axis=-1)
    assert float(cosines.min()) > 0.999
    assert relative_error(rounded, exact) > 1e-5  # it did compute in bfloat16
