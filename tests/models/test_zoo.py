import dataclasses
import math
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from helpers.golden import recordings, target_shapes

from fairjax import models
from fairjax.converters.convert import layouts_of, plan_for
from fairjax.converters.engine import detect_layout
from fairjax.models.architectures import ConvNetConfig, SAMConfig, override
from fairjax.models.checkpoint import build_abstract, family_class
from fairjax.models.zoo import FAMILIES, MODELS
from fairjax.utils.errors import UserError

# Tensors that the published count includes, and that no output depends on.
COUNTED = re.compile(r"mask_token|\.pooler\.|^Qformer\.cls\.|^neck\.")


@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_complete(name):
    row = MODELS[name]
    assert row.name == name
    assert row.usages
    assert row.licence
    assert row.probe_feature
    assert row.published_file
    assert row.citation
    assert bool(row.lora_targets) != isinstance(row.architecture, ConvNetConfig)
    assert ("zero_shot" in row.usages) == bool(row.zero_shot) == (row.tokenizer is not None)


@pytest.mark.parametrize("name", MODELS)
def test_lora_targets_are_linear_layers_of_the_image_tower(name):
    row = MODELS[name]
    shapes = target_shapes(row.family, row.architecture)
    tower = "vision." if any(path.startswith("vision.") for path in shapes) else ""
    assert bool(row.lora_targets) == any(path.endswith("attn.qkv.kernel") for path in shapes)
    for target in row.lora_targets:
        found = [
            shapes[path]
            for path in shapes
            if path.startswith(tower) and path.endswith(f"{target}.kernel")
        ]
        assert found
        assert {len(shape) for shape in found} == {2}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_names_a_module_with_the_public_methods(family):
    cls = family_class(family)
    assert callable(cls.encode_image)
    assert callable(cls.probe_features)


USAGE_NEEDS = {
    "linear_probe": ("probe_features",),
    "zero_shot": ("encode_image", "encode_text", "zero_shot_logits"),
    "prompted_segmentation": ("embed", "decode"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_row_names_the_usages_that_its_module_is_able_to(name):
    row = MODELS[name]
    cls = family_class(row.family)
    able = {
        usage
        for usage, methods in USAGE_NEEDS.items()
        if all(callable(getattr(cls, method, None)) for method in methods)
    }
    assert set(row.usages) == able


class OwnEncoder(nnx.Module):
    """A family from outside the package."""

    def __init__(self, config, *, dtype, rngs):
        self.linear = nnx.Linear(3, config.probe_width, rngs=rngs)

    def probe_features(self, images):
        return self.linear(images.mean(axis=(1, 2)))


@dataclasses.dataclass(frozen=True)
class OwnConfig:
    image_size: int = 8
    probe_width: int = 4


def test_a_row_may_name_a_class_of_its_own(monkeypatch, tmp_path):
    row = dataclasses.replace(
        MODELS["phantom_vit"], family=f"{__name__}:OwnEncoder", architecture=OwnConfig()
    )
    monkeypatch.setitem(MODELS, "own", dataclasses.replace(row, name="own"))
    module = models.build("own", probe_width=5)
    models.save(tmp_path / "own", module, models.make_card("own", OwnConfig(probe_width=5)))
    features = models.load(tmp_path / "own").probe_features(np.ones((2, 8, 8, 3), np.float32))
    assert features.shape == (2, 5)
    np.testing.assert_array_equal(features, module.probe_features(np.ones((2, 8, 8, 3))))


def test_a_card_of_another_family_than_its_row_is_refused(tmp_path):
    card = models.make_card("phantom_vit")
    models.save(tmp_path / "m", models.build("phantom_vit"), card | {"family": "os:system"})
    with pytest.raises(UserError, match="family"):
        models.load(tmp_path / "m")


@pytest.mark.parametrize("name", MODELS)
def test_the_probe_feature_has_the_width_the_row_says(name):
    row = MODELS[name]
    # Quick to trace.
    shallow = {"encoder.depth": 1} if isinstance(row.architecture, SAMConfig) else {}
    graph, state = nnx.split(build_abstract(row.family, override(row.architecture, shallow)))
    size = row.architecture.image_size
    images = jax.ShapeDtypeStruct((2, size, size, 3), np.float32)
    features = jax.eval_shape(
        lambda state, x: nnx.merge(graph, state).probe_features(x), state, images
    )
    assert features.shape == (2, row.architecture.probe_width)
    assert features.dtype == np.float32


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_the_row_is_of_the_published_size(recording):
    row, config = recording.row, recording.config
    spec = recording.full_spec()
    # Running statistics and fixed constants are not counted.
    published = int(config["full_param_count"])
    # EVA has no such bias of keys; ours is 0.
    keys = [name for name in spec if name.endswith("attn.v_bias")]
    published += sum(math.prod(spec[name]) for name in keys)
    plan = plan_for(row, row.architecture, detect_layout(layouts_of(row), spec), spec)
    if "constructor" in config:
        unused = [
            name
            for name in config.get("tensors_without_effect_on_any_output", [])
            if COUNTED.search(name)
        ]
        left_out = sum(math.prod(spec.get(name, (0,))) for name in unused)
    else:
        no_parameters = {
            *config.get("full_non_float_tensors", {}),
            *(name for name in spec if "position_ids" in name),
        }
        left_out = sum(
            math.prod(spec[name])
            for name in plan.dropped
            if spec[name] and name not in no_parameters
        )
    module = build_abstract(row.family, row.architecture)
    n_parameters = sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))
    assert n_parameters + left_out == published
    if config["name"] == "moco_cxr":  # FairMedFM probes a projection of it by random weights
        assert row.architecture.probe_width == row.architecture.width_out
    elif "fairmedfm" in config:
        assert row.architecture.probe_width == config["fairmedfm"]["feat_dim"]


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_the_preprocessing_is_the_published_one(recording):
    preprocess, config = recording.row.preprocess, recording.config
    published = config.get("preprocess_published") or config["preprocessing"]
    for ours, names in (
        (preprocess.mean, ("mean", "pixel_mean")),
        (preprocess.std, ("std", "pixel_std")),
    ):
        theirs = next(
            (published[name] for name in names if isinstance(published.get(name), list)), ours
        )
        np.testing.assert_allclose(ours, theirs)
    if stated := re.match(r"\d+", str(published.get("image_size", ""))):  # a remark may follow
        assert preprocess.size == int(stated[0])


def test_the_table_prints_every_model():
    done = subprocess.run(
        [sys.executable, "-m", "fairjax.models"], capture_output=True, text=True, check=True
    )
    assert all(
        any(line.startswith(f"{name} ") for line in done.stdout.splitlines()) for name in MODELS
    )


def test_build_takes_the_rows_architecture_with_changes():
    module = models.build("phantom_vit", width=16, heads=2, depth=1, mlp_dim=16)
    assert (module.config.width, module.config.patch_size) == (
        16,
        MODELS["phantom_vit"].architecture.patch_size,
    )


def test_an_encoder_of_uneven_stages_is_refused():
    with pytest.raises(UserError, match="stage"):
        models.build("mobile_sam", **{"encoder.depths": (1, 1)})
    with pytest.raises(UserError, match="7 heads"):
        models.build("mobile_sam", **{"encoder.heads": (1, 1, 1, 7)})
