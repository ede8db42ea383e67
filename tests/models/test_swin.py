"""Swin on grids that the recordings do not have: padded windows, unequal sides, odd grids before a
merging.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import needs
from helpers.golden import relative_error
from safetensors.numpy import load_file

from fairjax.converters.engine import Layout, make_plan
from fairjax.converters.rules.medclip import SWIN
from fairjax.models.architectures import SwinConfig
from fairjax.models.checkpoint import state_dict, with_arrays
from fairjax.models.swin import Swin, shift_bias
from fairjax.utils.errors import UserError

CONFIG = SwinConfig(
    image_size=64, patch_size=4, embed_dim=16, depths=(2, 3), heads=(2, 4), window=4
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """transformers' Swin with random weights, and ours with the same."""
    torch = needs.torch()
    from transformers import SwinConfig as TheirConfig
    from transformers import SwinModel

    torch.manual_seed(0)
    sizes = {
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [2, 3],
        "num_heads": [2, 4],
        "window_size": 4,
    }
    theirs = SwinModel(
        TheirConfig(**sizes, layer_norm_eps=1e-5, attn_implementation="eager")
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("swin")
    theirs.save_pretrained(folder)  # under the published names
    weights = {
        k: v
        for k, v in load_file(folder / "model.safetensors").items()
        if "relative_position_index" not in k
    }
    ours = nnx.eval_shape(lambda: Swin(CONFIG, rngs=nnx.Rngs(0)))
    shapes = {name: x.shape for name, x in state_dict(ours).items()}
    plan = make_plan(
        Layout(name="swin", rules=SWIN), {name: x.shape for name, x in weights.items()}, shapes
    )
    return theirs, with_arrays(
        ours, {name: jnp.asarray(x) for name, x in plan.convert(weights).items()}
    )


@pytest.mark.parametrize(("height", "width"), [(64, 64), (56, 72), (52, 60), (66, 94)])
def test_swin_equals_the_original_at_any_size(both, height, width):
    torch, (theirs, ours) = needs.torch(), both
    images = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(
            torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        ).last_hidden_state.numpy()
    with jax.default_matmul_precision("highest"):
        found = ours(jnp.asarray(images))
    assert relative_error(found.reshape(expected.shape), expected) <= 1e-5


def test_regions_that_the_shift_made_neighbours_are_kept_apart():
    bias = shift_bias(8, 8, 4, 2)
    assert bias.shape == (4, 1, 16, 16)
    assert (bias[0] == 0).all()  # the first window holds one region, the last one four
    assert len(np.unique(bias[3, 0], axis=0)) == 4


def test_a_grid_smaller_than_a_window_is_refused():
    with pytest.raises(UserError, match="2x2 patches"):
        nnx.eval_shape(lambda: Swin(CONFIG, rngs=nnx.Rngs(0))(jnp.zeros((1, 16, 16, 3))))
