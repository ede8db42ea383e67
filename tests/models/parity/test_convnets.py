"""ResNets equal the original at every recorded size; DenseNet equals one that is written in
PyTorch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import needs
from helpers.golden import recordings_of, relative_error
from helpers.parity import TOLERANCE, assert_all_equal, images_of, name_of, run

from fairjax import models
from fairjax.converters.convert import convert
from fairjax.models.checkpoint import build_abstract
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError

RESNET_OUTPUTS = {
    "stem": "stem",
    "layer1": "layer1",
    "layer2": "layer2",
    "layer4": "layer4",
    "after_layer1_subsampled4": "subsampled_layer1",
    "layer5_feature_map": "layer4",
    "image_pooled": "pool_image",
    "image_features": "encode_image",
    "image_features_checkpoint_fc": "encode_image",
    "fairmedfm_lp_feature": "probe_features",
}


def resnet_outputs(module, images):
    ours = models.intermediates(module.pool_image, images)
    ours |= {
        method: getattr(module, method)(images) for method in ("encode_image", "probe_features")
    }
    ours |= {f"layer{i}": ours[f"layer{i}.{n - 1}"] for i, n in enumerate(module.config.layers, 1)}
    ours |= {"subsampled_layer1": ours["layer1"][:, ::4, ::4]}
    return {name: x.transpose(0, 3, 1, 2) if x.ndim == 4 else x for name, x in ours.items()}


@pytest.mark.parametrize("recording", recordings_of("resnet"), ids=name_of)
def test_resnet_equals_the_original_at_every_recorded_size(recording, loaded):
    io, module = recording.io(), loaded(recording)
    for suffix in (
        name.removeprefix("in.pixel_values") for name in io if name.startswith("in.pixel_values")
    ):
        assert_all_equal(
            io, RESNET_OUTPUTS, run(module, resnet_outputs, images_of(io, suffix)), suffix
        )


@pytest.mark.row("model", "moco_cxr_densenet121")
@pytest.mark.parametrize("mlp", [True, False], ids=["two layers", "one layer"])
def test_densenet_equals_pytorch(mlp, tmp_path):
    torch = needs.torch()
    layers, growth, stem = (2, 3), 4, 8
    width = (stem + layers[0] * growth) // 2 + layers[1] * growth
    state = random_densenet(
        torch,
        layers,
        growth,
        stem,
        {0: (width, width), 2: (width, 6)} if mlp else {None: (width, 6)},
    )
    encoder_k = {name.replace("encoder_q", "encoder_k"): tensor for name, tensor in state.items()}
    queue = {
        "module.queue": torch.zeros(6, 32),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    torch.save(
        {"epoch": 3, "arch": "densenet121", "state_dict": {**state, **encoder_k, **queue}},
        tmp_path / "d.pth.tar",
    )
    projection = [width, 6] if mlp else [6]
    arch = {
        "image_size": 64,
        "layers": layers,
        "growth": growth,
        "stem_width": stem,
        "projection": projection,
    }
    done = convert("moco_cxr_densenet121", tmp_path / "d.pth.tar", tmp_path / "model", arch)
    assert done.card["source"]["layout"] == f"moco_densenet{'' if mlp else '_linear'}"
    images = np.random.default_rng(0).normal(size=(2, 64, 48, 3)).astype(np.float32)
    module = models.load(tmp_path / "model")
    names = ("features", "pool_image", "encode_image", "probe_features")
    ours = run(
        module,
        lambda module, x: {name: getattr(module, name)(x) for name in names},
        jnp.asarray(images),
    )
    grid, pooled, projected = torch_densenet(
        torch, state, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), layers
    )
    assert relative_error(ours["features"], grid.permute(0, 2, 3, 1)) <= TOLERANCE
    assert relative_error(ours["pool_image"], pooled) <= TOLERANCE
    assert relative_error(ours["encode_image"], projected) <= TOLERANCE
    np.testing.assert_array_equal(ours["probe_features"], ours["pool_image"])


def random_densenet(torch, layers, growth: int, stem: int, head: dict) -> dict:
    """A state dict under the names of torchvision's DenseNet within MoCo, every tensor random."""
    torch.manual_seed(0)
    state, width = {}, stem

    def conv(name: str, n_in: int, n_out: int, size: int):
        state[f"{name}.weight"] = torch.randn(n_out, n_in, size, size) / (n_in * size**2) ** 0.5

    def batch_norm(name: str, n: int):
        state.update({f"{name}.{part}": torch.rand(n) + 0.5 for part in ("weight", "running_var")})
        state.update({f"{name}.{part}": torch.randn(n) for part in ("bias", "running_mean")})
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("features.conv0", 3, stem, 7)
    batch_norm("features.norm0", stem)
    for i, n_layers in enumerate(layers, 1):
        for j in range(1, n_layers + 1):
            layer = f"features.denseblock{i}.denselayer{j}"
            batch_norm(f"{layer}.norm1", width)
            conv(f"{layer}.conv1", width, 4 * growth, 1)
            batch_norm(f"{layer}.norm2", 4 * growth)
            conv(f"{layer}.conv2", 4 * growth, growth, 3)
            width += growth
        if i < len(layers):
            batch_norm(f"features.transition{i}.norm", width)
            conv(f"features.transition{i}.conv", width, width // 2, 1)
            width //= 2
    batch_norm("features.norm5", width)
    for index, (n_in, n_out) in head.items():
        name = "classifier" if index is None else f"classifier.{index}"
        state |= {
            f"{name}.weight": torch.randn(n_out, n_in) / n_in**0.5,
            f"{name}.bias": torch.randn(n_out),
        }
    return {f"module.encoder_q.{name}": tensor for name, tensor in state.items()}


def torch_densenet(torch, state, x, layers):
    """Huang et al. 2017: the last grid, its average, and the projection of that."""
    f = torch.nn.functional

    def get(name):
        return state[f"module.encoder_q.{name}"]

    def norm_relu(name, x):
        parts = (
            get(f"features.{name}.{part}")
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return f.relu(f.batch_norm(x, *parts, eps=1e-5))

    def conv(name, x, **options):
        return f.conv2d(x, get(f"features.{name}.weight"), **options)

    x = f.max_pool2d(
        norm_relu("norm0", conv("conv0", x, stride=2, padding=3)), 3, stride=2, padding=1
    )
    for i, n_layers in enumerate(layers, 1):
        for j in range(1, n_layers + 1):
            layer = f"denseblock{i}.denselayer{j}"
            hidden = norm_relu(
                f"{layer}.norm2", conv(f"{layer}.conv1", norm_relu(f"{layer}.norm1", x))
            )
            x = torch.cat([x, conv(f"{layer}.conv2", hidden, padding=1)], dim=1)
        if i < len(layers):
            x = f.avg_pool2d(conv(f"transition{i}.conv", norm_relu(f"transition{i}.norm", x)), 2)
    x = norm_relu("norm5", x)
    pooled = projected = x.mean(dim=(2, 3))
    if "module.encoder_q.classifier.weight" in state:
        return x, pooled, f.linear(pooled, get("classifier.weight"), get("classifier.bias"))
    for index in (0, 2):
        projected = f.linear(
            projected, get(f"classifier.{index}.weight"), get(f"classifier.{index}.bias")
        )
        projected = f.relu(projected) if index == 0 else projected
    return x, pooled, projected


def test_densenet_121_has_the_published_number_of_parameters():
    row = MODELS["moco_cxr_densenet121"]
    params = nnx.state(build_abstract(row.family, row.architecture), nnx.Param)
    assert (
        sum(x.size for x in jax.tree.leaves(params))
        == 6_953_856 + 1024 * 1024 + 1024 + 1024 * 128 + 128
    )


def test_a_pooling_window_that_does_not_fit_is_refused():
    graph, state = nnx.split(build_abstract("resnet", MODELS["c2l"].architecture))
    with pytest.raises(UserError, match="224x224.*7x7 features, not 2x2"):
        jax.eval_shape(
            lambda state, x: nnx.merge(graph, state).encode_image(x),
            state,
            jnp.zeros((1, 64, 64, 3)),
        )
