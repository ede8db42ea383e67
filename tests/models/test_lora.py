"""Adapters change nothing until they are trained, belong to the image tower alone, and merge into
its weights.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.golden import abstract

from fairjax import models
from fairjax.models import lora
from fairjax.models.checkpoint import state_dict
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_arrays

TINY = {"width": 8, "depth": 2, "heads": 2, "mlp_dim": 16}
VIT = {**TINY, "image_size": 16, "patch_size": 8}
CLIP = {f"vision.{k}": v for k, v in VIT.items()} | {f"text.{k}": v for k, v in TINY.items()}
MODULES = {
    "vit": ("phantom_vit", VIT),
    "scanned": ("phantom_vit", VIT | {"scan": True}),
    "clip": ("clip", CLIP | {"text.vocab_size": 11, "text.context_length": 5, "embed_dim": 8}),
}


def injected(name: str, rank: int = 3):
    row, changes = MODULES[name]
    module = models.build(row, **changes)
    return module, lora.inject(module, lora.targets_of(row), rank, 6.0)


def noisy(module: nnx.Module):
    """Additions that are not 0."""
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(rng.normal(size=x.shape), jnp.float32)
        for name, x in lora.adapters(module).items()
    }


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).normal(size=(3, 16, 16, 3)), jnp.float32)


@pytest.mark.parametrize("name", MODULES)
def test_fresh_adapters_leave_the_output_as_it_is_and_others_merge_into_the_weights(name, images):
    module, adapted = injected(name)
    before = hash_arrays(state_dict(module))
    fresh = lora.split(adapted)[0](lora.initial(jax.random.key(0), adapted))
    assert any(np.any(x) for x in lora.adapters(fresh).values())
    features = jax.jit(lambda module, x: module.probe_features(x))
    np.testing.assert_array_equal(features(fresh, images), features(module, images))

    other = lora.split(adapted)[0](noisy(adapted))
    changed = features(other, images)
    assert np.abs(changed - features(module, images)).max() > 0.1
    merged = lora.merge(other)
    np.testing.assert_allclose(features(merged, images), changed, rtol=1e-5, atol=1e-5)
    assert state_dict(merged).keys() == state_dict(module).keys()
    assert hash_arrays(state_dict(module)) == before


def test_a_loop_over_layers_has_the_adapters_of_the_layers():
    plain, looped = (
        lora.initial(jax.random.key(3), injected(name)[1]) for name in ("vit", "scanned")
    )
    for name, x in looped.items():
        for layer in range(TINY["depth"]):
            np.testing.assert_array_equal(x[layer], plain[name.replace("*", str(layer))])


def test_adapters_are_of_the_image_tower_and_as_many_as_they_should_be():
    _, adapted = injected("clip", rank=3)
    arrays = lora.adapters(adapted)
    assert all(name.startswith("vision.encoder.blocks.") for name in arrays)
    widths = [(8, 24), (8, 8), (8, 16), (16, 8)]  # qkv, proj, fc1, fc2
    assert sum(x.size for x in arrays.values()) == 2 * sum(
        3 * (n_in + n_out) for n_in, n_out in widths
    )


@pytest.mark.parametrize("name", ["medclip", "blip2", "mobile_sam", "medsam2"])
def test_the_targets_of_each_family_are_layers_of_its_tower(name):
    row = MODELS[name]
    module = abstract(row.family, row.architecture)
    arrays = lora.adapters(lora.inject(module, row.lora_targets, 2, 1.0))
    towers = {path.split(".")[0] for path in arrays}
    assert towers == {"vision" if row.family != "sam" and row.family != "sam2" else "encoder"}
    assert {path.rsplit(".", 3)[1] + "." + path.rsplit(".", 3)[2] for path in arrays} == set(
        row.lora_targets
    )


def test_gradients_are_of_the_adapters_alone(images):
    _, adapted = injected("vit")
    join, frozen = lora.split(adapted)
    arrays = noisy(adapted)
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(join(a, frozen).probe_features(images) ** 2)))(
        arrays
    )
    assert gradient.keys() == arrays.keys()
    assert all(np.abs(x).max() > 0 for x in gradient.values())


def test_what_has_no_such_layers_is_refused():
    with pytest.raises(UserError, match="c2l has no linear layers for LoRA.*phantom_vit"):
        lora.targets_of("c2l")
    module, _ = injected("vit")
    with pytest.raises(UserError, match="'attn.out' is no linear layer of ViT's image tower"):
        lora.inject(module, ("attn.qkv", "attn.out"), 2, 1.0)
    with pytest.raises(UserError, match="rank"):
        lora.inject(module, ("attn.qkv",), 0, 1.0)
