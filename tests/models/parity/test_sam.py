"""SAM and its descendants equal the original: encoder, prompts, masks, and the way to and from the
original image.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.golden import recording_of, recordings_of, relative_error
from helpers.parity import TOLERANCE, name_of, run

from fairjax import models
from fairjax.converters.convert import plan_for
from fairjax.converters.rules import LAYOUTS
from fairjax.models import zoo
from fairjax.models.checkpoint import build_abstract, make_card
from fairjax.models.protocols import MaskFormat
from fairjax.models.sam.model import stability, stable_or_best
from fairjax.models.sam.tokens import Points, padded
from fairjax.segmentation.decode import upsample
from fairjax.segmentation.transform import InputTransform

PROMPTED = recordings_of("sam", "sam2")
parametrized = pytest.mark.parametrize("recording", PROMPTED, ids=name_of)


def nhwc(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def nchw(x):
    return np.moveaxis(np.asarray(x), -1, -3)


def assert_close(ours, theirs, what):
    assert relative_error(ours, theirs) <= TOLERANCE, what


def preprocess_of(recording, module):
    return models.load_preprocess(make_card(recording.row.name, module.config))


def prompts_of(io, case, module):
    """The tokens of one recorded case, for the two images; a case on the first image only is given
    to both.
    """
    recorded = {
        name: io.get(f"{case}.{name}") for name in ("point_coords", "point_labels", "boxes")
    }
    if case == "multi":
        boxes = recorded["boxes"][None]
        return module.prompt_format.tokens(boxes=np.concatenate([boxes, boxes]))
    given = [None if x is None else x[:, None] for x in recorded.values()]
    coords, labels = module.prompt_format.tokens(*given)
    return Points(
        np.broadcast_to(coords, (2, *coords.shape[1:])),
        np.broadcast_to(labels, (2, *labels.shape[1:])),
    )


def stacked(tokens):
    """Prompts of different lengths as one batch, absent tokens at the end."""
    longest = max(points.labels.shape[2] for points in tokens)
    coords, labels = zip(*(padded(points, longest) for points in tokens))
    return Points(np.concatenate(coords, axis=1), np.concatenate(labels, axis=1))


def decode(module, embedding, points, masks):
    decoded = module.decode(embedding, points, masks)
    side = embedding["image"].shape[1]
    sparse = module.prompts.sparse(points, side * module.stride, side * module.stride)
    return decoded | {"sparse": sparse, "single": module.single(decoded)}


@functools.cache
def computed(load, recording):
    """The embedding, and of each recorded case what we make of it, all cases without a mask prompt
    being one batch.
    """
    module, io = load(recording), recording.io()
    embedding = run(module, lambda module, x: module.embed(x), nhwc(io["image"]))
    cases = sorted(
        {
            name.rpartition(".")[0]
            for name in io
            if name.startswith("case.") and ".masks_" not in name
        }
    )
    cases += ["multi"] * ("multi.boxes" in io)
    found = {}
    for masked in (False, True):
        chosen = [case for case in cases if (f"{case}.mask_input" in io) == masked]
        tokens = [prompts_of(io, case, module) for case in chosen]
        masks = (
            jnp.stack([jnp.asarray(io[f"{case}.mask_input"][:, 0]) for case in chosen], axis=1)
            if masked
            else None
        )
        ours = run(module, decode, embedding, stacked(tokens), masks)
        start = 0
        for case, points in zip(chosen, tokens):
            n, length = points.labels.shape[1:]
            one = jax.tree.map(lambda x, a=start, b=start + n: x[:, a:b], ours)
            one["sparse"] = one["sparse"][:, :, :length]
            one["dense"] = module.prompts.dense(
                None if masks is None else masks[:, start : start + n],
                *embedding["image"].shape[1:3],
            )
            found[case] = one
            start += n
    return embedding, found


@parametrized
def test_image_embedding_equals_the_original(recording, loaded):
    io, module = recording.io(), loaded(recording)
    embedding, _ = computed(loaded, recording)
    assert_close(nchw(embedding["image"]), io["image_embedding"], "image embedding")
    side = embedding["image"].shape[1]
    positions = run(module, lambda module: module.prompts.grid(side, side))
    assert_close(nchw(positions)[None], io["dense_pe"], "positions")


ONE_OF_EACH = [next(iter(recordings_of(family)), None) for family in ("sam", "sam2")]


@pytest.mark.parametrize(
    "recording", [recording for recording in ONE_OF_EACH if recording], ids=name_of
)
def test_the_probe_feature_is_the_average_of_the_image_embedding(recording, loaded):
    io = recording.io()
    pooled = run(loaded(recording), lambda module, x: module.probe_features(x), nhwc(io["image"]))
    assert_close(pooled, io["image_embedding"].mean(axis=(2, 3)), "average")


@pytest.mark.parametrize("recording", recordings_of("sam2"), ids=name_of)
def test_the_pyramid_equals_the_original(recording, loaded):
    io, module = recording.io(), loaded(recording)
    stages, levels = run(
        module, lambda m, x: (m.encoder.stages(x), m.encoder.pyramid(x)), nhwc(io["image"])
    )
    for k, (stage, level) in enumerate(zip(stages, levels, strict=True)):
        assert_close(nchw(stage), io[f"trunk_stage.{k}"], f"stage {k}")
        assert_close(nchw(level), io[f"fpn.{k}"], f"level {k}")
    embedding, _ = computed(loaded, recording)
    for ours, theirs in (("stride4", "s0"), ("stride8", "s1")):
        assert_close(nchw(embedding[ours]), io[f"high_res_feat_{theirs}"], theirs)


# Recorded output → of what we computed: (b, p, …), of which a case has p = 1.
OUTPUTS = {
    "sparse": lambda ours: ours["sparse"][:, 0],
    "dense": lambda ours: nchw(ours["dense"][:, 0]),
    "low_res_masks_multimask": lambda ours: ours["masks"][:, 0, 1:],
    "iou_multimask": lambda ours: ours["iou"][:, 0, 1:],
    "low_res_masks_single": lambda ours: ours["masks"][:, 0, :1],
    "iou_single": lambda ours: ours["iou"][:, 0, :1],
    "low_res_masks_token0": lambda ours: ours["masks"][:, 0, :1],
    "iou_token0": lambda ours: ours["iou"][:, 0, :1],
    "low_res_masks_single_dynamic": lambda ours: ours["single"][0][:, 0],
    "iou_single_dynamic": lambda ours: ours["single"][1][:, 0],
    "object_score_logits": lambda ours: ours["object_score"][:, 0],
    "mask_tokens_out": lambda ours: ours["tokens"][:, 0],
}
INPUTS = ("point_coords", "point_labels", "boxes", "mask_input")


@parametrized
def test_every_prompt_decodes_as_in_the_original(recording, loaded):
    io = recording.io()
    _, found = computed(loaded, recording)
    compared = 0
    for name, theirs in io.items():
        case, _, output = name.rpartition(".")
        if not case.startswith("case.") or ".masks_multimask" in name or output in INPUTS:
            continue
        assert_close(OUTPUTS[output](found[case]), theirs, name)
        compared += 1
    assert compared >= 30


def test_absent_tokens_change_nothing_for_a_prompt_alone(loaded):
    recording = next(
        (recording for recording in PROMPTED if recording.row.name == "mobile_sam"), PROMPTED[0]
    )
    io, module = recording.io(), loaded(recording)
    embedding, found = computed(loaded, recording)
    points = padded(prompts_of(io, "case.point1", module), 7)
    one = jax.tree.map(lambda x: x[:1], embedding)
    alone = run(module, decode, one, Points(points.coords[:1], points.labels[:1]), None)
    assert_close(alone["masks"], found["case.point1"]["masks"][:1], "masks")
    assert_close(alone["iou"], found["case.point1"]["iou"][:1], "iou")


@parametrized
def test_several_prompts_of_one_image_decode_as_in_the_original(recording, loaded):
    io = recording.io()
    _, found = computed(loaded, recording)
    pairs = {
        "multi.sparse": ("multi", lambda ours: ours["sparse"][0]),
        "multi.low_res_masks_multimask": ("multi", lambda ours: ours["masks"][0, :, 1:]),
        "multi.iou_multimask": ("multi", lambda ours: ours["iou"][0, :, 1:]),
    }
    pairs |= {f"batched.box.{name}": ("case.box", output) for name, output in OUTPUTS.items()}
    for name, (case, output) in pairs.items():
        if name in io:
            assert_close(output(found[case]), io[name], name)


@parametrized
def test_masks_at_the_original_size_equal_the_original(recording, loaded):
    io, module = recording.io(), loaded(recording)
    _, found = computed(loaded, recording)
    published = InputTransform.of(module, preprocess_of(recording, module))
    shared = InputTransform.of(
        module,
        published.preprocess,
        MaskFormat(through_input=zoo.segmentation.DECODER.upscale == "input"),
    )
    compared = 0
    for name, theirs in io.items():
        kind, _, i = name.rpartition(".")
        if ".masks_multimask." in name:
            rows, columns = shared.matrices(*theirs.shape[1:])
            assert_close(
                upsample(found[kind.rpartition(".")[0]]["masks"][int(i), 0, 1:], rows, columns),
                theirs,
                name,
            )
        elif name.startswith("medsam_inference."):
            rows, columns = published.matrices(*theirs.shape)
            ours = upsample(
                found["case.box"]["masks"][int(i), 0, 0],
                rows,
                columns,
                published.masks.space,
            )
            assert_close(ours, theirs, name)
        else:
            continue
        compared += 1
    assert compared or recording.row.family == "sam2"


@pytest.mark.parametrize("recording", recordings_of("sam2"), ids=name_of)
def test_the_predictor_of_sam_2_equals_the_original(recording, loaded):
    io, module = recording.io(), loaded(recording)
    embedding, _ = computed(loaded, recording)
    transform = InputTransform.of(module, preprocess_of(recording, module))
    for i in range(2):
        height, width = io[f"raw_image.{i}"].shape[:2]
        points = transform.to_input(io[f"predictor.points.orig_coords.{i}"], height, width)[
            None, None
        ]
        box = transform.to_input(
            io[f"predictor.box.orig_box.{i}"].reshape(2, 2), height, width
        ).reshape(1, 1, 4)
        tokens = {
            "points": module.prompt_format.tokens(
                points, io[f"predictor.points.labels.{i}"][None, None]
            ),
            "box": module.prompt_format.tokens(boxes=box),
        }
        one = jax.tree.map(lambda x, i=i: x[i : i + 1], embedding)
        ours = run(module, decode, one, stacked(list(tokens.values())), None)
        rows, columns = transform.matrices(height, width)
        for p, kind in enumerate(tokens):
            masks, iou = ours["masks"][0, p, 1:], ours["iou"][0, p, 1:]
            assert_close(iou, io[f"predictor.{kind}.ious.{i}"], kind)
            assert_close(jnp.clip(masks, -32, 32), io[f"predictor.{kind}.low_res.{i}"], kind)
            assert_close(upsample(masks, rows, columns), io[f"predictor.{kind}.masks.{i}"], kind)


@pytest.mark.parametrize("recording", recordings_of("sam2"), ids=name_of)
def test_an_unstable_mask_gives_way_to_the_best_of_the_others(recording):
    io = recording.io()
    masks, iou = (
        jnp.asarray(io["unit.dynamic.all_mask_logits"]),
        jnp.asarray(io["unit.dynamic.all_iou"]),
    )
    delta, threshold = recording.row.architecture.decoder.stability
    chosen, of_chosen = stable_or_best(masks, iou, delta, threshold)
    np.testing.assert_array_equal(chosen, io["unit.dynamic.out_logits"])
    np.testing.assert_array_equal(of_chosen, io["unit.dynamic.out_iou"])
    np.testing.assert_allclose(
        stability(masks[:, :1], delta), io["unit.dynamic.stability"], rtol=1e-6
    )


@parametrized
def test_preprocessing_equals_the_original(recording, loaded):
    io = recording.io()
    preprocess = preprocess_of(recording, loaded(recording))
    raw = [io[name] for name in sorted(io) if name.startswith("raw_image.")]
    assert raw
    for i, image in enumerate(raw):
        if f"resized_image.{i}" in io:
            np.testing.assert_array_equal(preprocess.resized(image), io[f"resized_image.{i}"])
        assert_close(preprocess(image), io["image"][i].transpose(1, 2, 0), f"image {i}")


LVM_OUTPUTS = {
    "patch_embed_nhwc": lambda ours: ours["patch_embed"],
    "block0_windowed_nhwc": lambda ours: ours["blocks.0"],
    "block1_global_nhwc": lambda ours: ours["blocks.1"],
    "feature_map_nchw": lambda ours: nchw(ours[""]),
    "image_pooled": lambda ours: ours["encode_image"],
    "fairmedfm_lp_feature": lambda ours: ours["encode_image"],
}


@pytest.mark.parametrize("recording", recordings_of("sam_encoder"), ids=name_of)
def test_the_encoder_alone_equals_the_original_at_every_recorded_size(recording, loaded):
    io, module = recording.io(), loaded(recording)
    for name in [name for name in io if name.startswith("in.pixel_values")]:
        suffix = name.removeprefix("in.pixel_values")
        ours = run(
            module, lambda module, x: models.intermediates(module.encode_image, x), nhwc(io[name])
        )
        recorded = [
            key
            for key in io
            if key.startswith("out.")
            and key.removeprefix("out.") in {n + suffix for n in LVM_OUTPUTS}
        ]
        assert len(recorded) == len(LVM_OUTPUTS)
        for key in recorded:
            assert_close(
                LVM_OUTPUTS[key.removeprefix("out.").removesuffix(suffix)](ours), io[key], key
            )


@pytest.mark.row("model", "sam_l", "sam_h")
@pytest.mark.parametrize(("name", "n_encoder"), [("sam_l", 308_278_272), ("sam_h", 637_026_048)])
def test_the_larger_presets_have_the_published_size(name, n_encoder):
    row = zoo.MODELS[name]
    encoder = build_abstract(row.family, row.architecture).encoder
    sizes = jax.tree.leaves(jax.tree.map(lambda x: x.size, models.state_dict(encoder)))
    assert sum(sizes) == n_encoder


def test_a_layout_serves_every_encoder_of_its_kind():
    row = zoo.MODELS["sam_med2d"]
    sources = plan_for(
        row, row.architecture, LAYOUTS["sam"], recording_of("sam_med2d").full_spec()
    ).steps
    assert sum("adapter" in step.target for step in sources) == 6 * row.architecture.encoder.depth
