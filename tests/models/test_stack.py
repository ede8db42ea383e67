import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fairjax import models
from fairjax.models.architectures import TransformerConfig, ViTConfig
from fairjax.models.checkpoint import build_abstract, state_dict
from fairjax.models.layers import Transformer
from fairjax.models.stack import SCAN_DEPTH
from fairjax.utils.errors import UserError

TINY = {"width": 8, "depth": 3, "heads": 2, "mlp_dim": 16}
VIT = {**TINY, "image_size": 16, "patch_size": 8}


def transformer(**changes) -> Transformer:
    return Transformer(TransformerConfig(**TINY | changes), rngs=nnx.Rngs(0))


def vit(**changes) -> nnx.Module:
    return models.build("phantom_vit", **VIT | changes)


@pytest.fixture(scope="module")
def tokens():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)


MASK = jnp.tril(jnp.ones((5, 5), bool))[None, None]


def outputs_and_gradients(module: Transformer, x) -> tuple[dict, dict]:
    """What a stack gives with and without a mask, and the gradients of the former by name."""
    graph, state = nnx.split(module)

    @jax.jit
    def run(state, x):
        def loss(state):
            module = nnx.merge(graph, state)
            outputs = {"masked": module(x, MASK), "plain": module(x)}
            return jnp.sum(outputs["masked"] ** 2), outputs

        return jax.grad(loss, has_aux=True)(state)

    gradients, outputs = run(state, x)
    return outputs, state_dict(nnx.merge(graph, gradients))


@pytest.fixture(scope="module")
def reference(tokens):
    plain = transformer(scan=False)
    return state_dict(plain), *outputs_and_gradients(plain, tokens)


@pytest.mark.parametrize("how", [{"scan": True}, {"remat": True}, {"scan": True, "remat": True}])
def test_how_it_is_computed_changes_neither_weights_nor_results_nor_gradients(
    how, tokens, reference
):
    module = transformer(**how)
    assert_same(state_dict(module), reference[0])
    for ours, theirs in zip(outputs_and_gradients(module, tokens), reference[1:], strict=True):
        assert_same(ours, theirs, rtol=1e-4)


def assert_same(ours: dict, theirs: dict, rtol: float = 0.0):
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        np.testing.assert_allclose(x, theirs[name], rtol=rtol, atol=rtol, err_msg=name)


def test_a_deep_stack_is_one_block_in_a_loop(tokens):
    def operations(depth):
        graph, state = nnx.split(transformer(depth=depth))
        return str(
            jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, tokens)
        ).count("erf")

    assert operations(SCAN_DEPTH) == 1
    assert operations(SCAN_DEPTH - 1) == SCAN_DEPTH - 1


def test_rematerialised_gradients_keep_less(tokens):
    def kept(**how):
        graph, state = nnx.split(transformer(**how))
        gradient = jax.grad(lambda state, x: nnx.merge(graph, state)(x).sum())
        x = jax.ShapeDtypeStruct((64, 64, 8), jnp.float32)
        return jax.jit(gradient).lower(state, x).compile().memory_analysis().temp_size_in_bytes

    assert kept(scan=True, remat=True) < kept(scan=True) / 2


def test_every_block_of_a_loop_can_be_looked_at():
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    plain, looped = vit(scan=False), vit(scan=True)
    steps, others = (
        jax.jit(lambda x, m=m: models.intermediates(m.encode_image, x))(images)
        for m in (plain, looped)
    )
    assert steps.keys() == others.keys() >= {"encoder", *(f"encoder.blocks.{i}" for i in range(3))}
    assert_same(others, steps, rtol=1e-5)
    assert state_dict(looped).keys() == state_dict(plain).keys()


def test_a_model_directory_does_not_depend_on_how_it_is_computed(tmp_path):
    modules = {name: vit(scan=name == "looped") for name in ("looped", "plain")}
    cards = [
        models.save(tmp_path / name, m, models.make_card("phantom_vit", m.config))
        for name, m in modules.items()
    ]
    assert cards[0] == cards[1]
    for name in modules:
        loaded = models.load(tmp_path / name, scan=name == "plain", remat=True)
        assert (loaded.config.scan, loaded.config.remat) == (name == "plain", True)
        assert_same(state_dict(loaded), state_dict(modules["plain"]))


def test_loading_changes_nothing_but_how_it_is_computed(tmp_path):
    models.save(tmp_path / "model", vit(), models.make_card("phantom_vit", vit().config))
    with pytest.raises(UserError, match="depth cannot be changed"):
        models.load(tmp_path / "model", depth=2)


def test_an_abstract_stack_has_one_shape_per_layer():
    config = ViTConfig(**VIT | {"depth": SCAN_DEPTH})
    shapes = {name: x.shape for name, x in state_dict(build_abstract("vit", config)).items()}
    assert shapes["encoder.blocks.23.attn.qkv.kernel"] == (8, 24)
    assert len([name for name in shapes if name.endswith("mlp.fc1.bias")]) == SCAN_DEPTH


LOAD_SHARDED = """
import sys
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from fairjax import models

mesh = jax.make_mesh((4,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
seen = {}

def place(name, shape):
    seen[name] = shape
    columns = name.endswith(("qkv.kernel", "fc1.kernel"))
    return NamedSharding(mesh, PartitionSpec(None, "model") if columns else PartitionSpec())

for scan in (False, True):
    module = models.load(sys.argv[1], sharding=place, scan=scan)
    blocks = getattr(module.encoder.blocks, "*") if scan else module.encoder.blocks[0]
    kernel, bias = blocks.attn.qkv.kernel[...], blocks.mlp.fc1.bias[...]
    assert kernel.sharding.spec == PartitionSpec(*[None] * scan, None, "model"), kernel.sharding
    assert kernel.addressable_shards[0].data.shape[-1] == kernel.shape[-1] // 4
    assert bias.sharding.is_fully_replicated and len(bias.sharding.device_set) == 4
    assert seen["encoder.blocks.2.attn.qkv.kernel"] == (8, 24)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(module.encode_image(images), np.load(sys.argv[2]), rtol=1e-4, atol=1e-5)
print("as asked")
"""


def test_weights_go_straight_to_the_sharding_that_a_function_gives_by_name(tmp_path):
    module = vit()
    models.save(tmp_path / "model", module, models.make_card("phantom_vit", module.config))
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "features.npy", module.encode_image(jnp.asarray(images)))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LOAD_SHARDED,
            str(tmp_path / "model"),
            str(tmp_path / "features.npy"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
    assert done.stdout.strip() == "as asked", done.stderr
