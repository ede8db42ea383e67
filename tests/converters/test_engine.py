import re

import numpy as np
import pytest
from helpers.golden import recordings, target_shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from fairjax.converters.arch import resolve
from fairjax.converters.convert import layouts_of
from fairjax.converters.engine import (
    Drop,
    Layout,
    _step_for,
    detect_layout,
    fused_linear,
    linear,
    make_plan,
    norm,
    rule,
    under,
)
from fairjax.converters.rules import LAYOUTS
from fairjax.converters.transforms import CONV, IDENTITY, squeeze
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError

LAYOUT = Layout(
    name="toy",
    rules=(
        *rule("stem.weight", "stem.kernel", CONV),
        *rule("cls", "cls_token", squeeze(2)),
        *under(
            "layer.{i}",
            "blocks.{i}",
            (*norm("ln", "norm"), *fused_linear(("q", "k", "v"), "qkv"), *linear("out", "proj")),
        ),
        *rule("scale", "scale"),
    ),
    drops=(Drop(r"layer\.\d+\.ids", "positions"),),
)


def toy(depth: int = 2, width: int = 4, channels: int = 3) -> tuple[dict, dict]:
    """Shapes of a checkpoint and of the module it belongs to."""
    sources = {"stem.weight": (width, channels, 5, 5), "cls": (1, 1, width), "scale": ()}
    targets = {"stem.kernel": (5, 5, channels, width), "cls_token": (width,), "scale": ()}
    for i in range(depth):
        sources |= {f"layer.{i}.ln.{part}": (width,) for part in ("weight", "bias")}
        targets |= {f"blocks.{i}.norm.{part}": (width,) for part in ("scale", "bias")}
        for name in ("q", "k", "v", "out"):
            sources |= {
                f"layer.{i}.{name}.weight": (width, width),
                f"layer.{i}.{name}.bias": (width,),
            }
        targets |= {
            f"blocks.{i}.qkv.kernel": (width, 3 * width),
            f"blocks.{i}.qkv.bias": (3 * width,),
        }
        targets |= {f"blocks.{i}.proj.kernel": (width, width), f"blocks.{i}.proj.bias": (width,)}
        sources[f"layer.{i}.ids"] = (1, 7)
    return sources, targets


def arrays(shapes: dict, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}


@given(
    depth=st.integers(1, 3),
    width=st.integers(1, 5),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_conversion_is_a_bijection(depth, width, channels, seed):
    sources, targets = toy(depth, width, channels)
    plan = make_plan(LAYOUT, sources, targets)
    tensors = arrays(sources, seed)
    converted = plan.convert(tensors)
    assert {name: x.shape for name, x in converted.items()} == targets
    assert set(plan.dropped) == {f"layer.{i}.ids" for i in range(depth)}
    back = plan.invert(converted)
    assert set(back) == set(sources) - set(plan.dropped)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[name])


def test_arrays_arrive_in_our_layout():
    sources, targets = toy()
    tensors = arrays(sources)
    converted = make_plan(LAYOUT, sources, targets).convert(tensors)
    x = np.ones(4, np.float32)
    kernel, bias = converted["blocks.1.qkv.kernel"], converted["blocks.1.qkv.bias"]
    separately = [
        tensors[f"layer.1.{part}.weight"] @ x + tensors[f"layer.1.{part}.bias"] for part in "qkv"
    ]
    np.testing.assert_allclose(x @ kernel + bias, np.concatenate(separately), rtol=1e-5)
    np.testing.assert_array_equal(
        converted["stem.kernel"][1, 2, 0, 3], tensors["stem.weight"][3, 0, 1, 2]
    )


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_fault_is_named_in_one_message(data):
    sources, targets = toy()
    known = sorted(name for name in sources if not name.endswith("ids") and sources[name])
    lost, renamed, reshaped = data.draw(st.permutations(known))[:3]
    faulty = {name: shape for name, shape in sources.items() if name not in (lost, renamed)}
    faulty |= {
        f"{renamed}_": sources[renamed],
        "extra.weight": (2,),
        reshaped: (*sources[reshaped], 9),
    }
    with pytest.raises(UserError) as caught:
        make_plan(LAYOUT, faulty, targets)
    message = str(caught.value)
    missing, unexpected, misshaped = (
        re.search(rf"\d+ {kind}: (.*?)(;|$)", message)[1]
        for kind in ("missing", "unexpected", "mis-shaped")
    )
    assert lost in missing
    assert renamed in missing
    assert f"{renamed}_" in unexpected
    assert "extra.weight" in unexpected
    assert f"{reshaped} {(*sources[reshaped], 9)}" in misshaped
    assert "\n" not in message


def test_a_target_filled_by_two_rules_is_a_fault():
    layout = Layout(name="twice", rules=(*LAYOUT.rules, *rule("other", "scale")))
    sources, targets = toy()
    with pytest.raises(UserError, match=r"scale \(2 rules fill it\)"):
        make_plan(layout, sources | {"other": ()}, targets)


def test_a_target_filled_by_no_rule_is_a_fault():
    sources, targets = toy()
    with pytest.raises(UserError, match=r"head\.kernel \(0 rules fill it\)"):
        make_plan(LAYOUT, sources, targets | {"head.kernel": (2, 2)})


def test_a_source_used_for_two_targets_is_a_fault():
    layout = Layout(name="shared", rules=(*rule("a", "x", IDENTITY), *rule("a", "y", IDENTITY)))
    with pytest.raises(UserError, match=r"a \(used for x and y\)"):
        make_plan(layout, {"a": (1,)}, {"x": (1,), "y": (1,)})


def test_sizes_that_only_agree_after_reshaping_are_refused():
    sources, targets = toy()
    with pytest.raises(UserError, match=r"stem.weight \(4, 3, 25, 1\), expected \(4, 3, 5, 5\)"):
        make_plan(LAYOUT, sources | {"stem.weight": (4, 3, 25, 1)}, targets)


def test_the_layout_is_found_even_when_names_are_faulty():
    openai, hf = LAYOUTS["clip_openai"], LAYOUTS["clip_hf"]
    assert (
        detect_layout([openai, hf], ["vision_model.post_layernorm.weight", "logit_scale", "junk"])
        is hf
    )
    assert detect_layout([hf, openai], ["visual.ln_post.weight", "logit_scale"]) is openai
    with pytest.raises(UserError, match="junk"):
        detect_layout([openai, hf], ["junk"])


def test_a_prefix_is_recognised_even_when_some_names_lack_it_and_faults_are_named_with_it():
    sources, targets = toy()
    sources = {f"module.{name}": shape for name, shape in sources.items()} | {"extra": (1,)}
    del sources["module.cls"]
    layout = detect_layout([LAYOUT], sources)
    with pytest.raises(UserError, match="1 missing: module.cls; 1 unexpected: extra$"):
        make_plan(layout, sources, targets)
    del sources["extra"]
    plan = make_plan(layout, sources | {"module.cls": (1, 1, 4)}, targets)
    assert set(plan.dropped) == {"module.layer.0.ids", "module.layer.1.ids"}


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_the_published_file_is_covered_entirely(recording):
    row, spec = recording.row, recording.full_spec()
    layout = detect_layout(layouts_of(row), spec)
    plan = make_plan(layout, spec, target_shapes(row.family, row.architecture))
    converted = {source for step in plan.steps for source in step.sources}
    assert converted | set(plan.dropped) == set(spec)
    assert not converted & set(plan.dropped)


def small_plan(recording):
    """The plan of a recording, and what it is made from: layout, shapes of the file, shapes of the
    module.
    """
    row, sources = recording.row, {name: x.shape for name, x in recording.weights().items()}
    layout = detect_layout(layouts_of(row), sources)
    targets = target_shapes(row.family, resolve(row.architecture, recording.config, layout))
    return make_plan(layout, sources, targets), layout, sources, targets


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_faults_in_a_file_are_all_named_in_one_message(recording):
    plan, layout, sources, targets = small_plan(recording)
    read = [name for step in plan.steps for name in step.sources]
    lost, renamed, reshaped = read[0], read[len(read) // 2], read[-1]
    faulty = {name: shape for name, shape in sources.items() if name not in (lost, renamed)}
    faulty |= {
        f"{renamed}_": sources[renamed],
        "added.weight": (2,),
        reshaped: (*sources[reshaped], 9),
    }
    with pytest.raises(UserError) as caught:
        make_plan(layout, faulty, targets)
    message = str(caught.value)
    assert re.search(rf"2 missing: [^;]*{re.escape(lost)}", message)
    assert re.search(rf"2 unexpected: [^;]*{re.escape(renamed)}_", message)
    assert "added.weight" in message
    assert f"1 mis-shaped: {reshaped} {(*sources[reshaped], 9)}" in message


@pytest.mark.parametrize("name", ["moco_cxr", "moco_cxr_densenet121"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_mocos_projection_is_accepted_with_one_layer_and_with_two_at_the_published_size(
    name, layout
):
    row = MODELS[name]
    published = LAYOUTS[row.layouts[0 if layout == "first" else -1]].prefixed("module.")
    architecture = resolve(row.architecture, {}, published)
    targets = target_shapes(row.family, architecture)
    steps = [
        step for target in targets for rule in published.rules if (step := _step_for(rule, target))
    ]
    stand_ins = {
        source: stand_in.shape
        for step in steps
        for source, stand_in in zip(
            step.sources,
            step.transform.inverse(np.broadcast_to(np.int8(0), targets[step.target]), 1),
            strict=True,
        )
    }
    found = detect_layout(layouts_of(row), stand_ins)
    assert (found.name, len(architecture.projection)) == (
        published.name,
        2 if layout == "first" else 1,
    )
    make_plan(found, stand_ins, targets)


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.folder.name)
def test_rule_tables_are_invertible(recording):
    plan, weights = small_plan(recording)[0], recording.weights()
    for name, tensor in plan.invert(plan.convert(weights)).items():
        np.testing.assert_array_equal(tensor, weights[name].astype(np.float32), strict=True)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.layouts])
@pytest.mark.parametrize("other", ["first", "last"])
def test_every_layout_of_every_row_fills_the_whole_module(name, other):
    row = MODELS[name]
    layout = LAYOUTS[row.layouts[0 if other == "first" else -1]]
    with pytest.raises(UserError) as caught:
        make_plan(layout, {}, target_shapes(row.family, resolve(row.architecture, {}, layout)))
    assert "filled not once" not in str(caught.value)
