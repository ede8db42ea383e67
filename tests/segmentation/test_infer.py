"""What is measured equals the original's way: one image, one prompt at a time, in PyTorch's
interpolation.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import needs

from fairjax import models
from fairjax.auditing.masks import measure
from fairjax.models import zoo
from fairjax.models.protocols import MaskFormat
from fairjax.segmentation import objects
from fairjax.segmentation.evaluate import runs
from fairjax.segmentation.infer import open_cache, segment
from fairjax.segmentation.loader import loader, nearest
from fairjax.segmentation.objects import ObjectRule, scan
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Scoring, Segmenter
from fairjax.segmentation.task import PromptedTask
from fairjax.segmentation.transform import InputTransform
from fairjax.utils.errors import UserError

RULE, PLAN = (
    ObjectRule("component", max_objects=2),
    PromptPlan(("interior", "rands", "bbox"), draws=2),
)
OPTIONS = {"batch_size": 2, "shard_batches": 2, "progress": False}
MEASURES = ("dice", "iou", "nsd", "hd95")


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    module, card = models.load(checkpoint), models.load_card(checkpoint)
    transform = InputTransform.of(module, models.load_preprocess(card))
    return Segmenter(module, transform, {"weights": "w"})


@pytest.fixture(scope="module")
def task(data, segmenter):
    """The images that hold any object."""
    found = scan(data, RULE, progress=False)
    holds = np.isin(np.arange(len(data)), found.table["row"])
    return PromptedTask(data, found, segmenter, RULE, PLAN, Scoring(MEASURES)).take(holds)


@pytest.fixture(scope="module")
def measured(task, tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    return segment(task, root, **OPTIONS), root


def test_objects_are_found_and_what_is_empty_is_counted(data):
    by_mode = {mode: scan(data, ObjectRule(mode), progress=False) for mode in objects.MODES}
    assert {found.without_mask for found in by_mode.values()} == {1}
    # Nine masks × two classes: image 3 is empty, and the even images lack the second class.
    assert {found.empty for found in by_mode.values()} == {2 + 4}
    counts = {
        mode: found.table.groupby("class").size().to_dict() for mode, found in by_mode.items()
    }
    assert counts["class"] == counts["largest"] == {"big": 8, "small": 4}
    assert counts["component"] == {"big": 16, "small": 4}
    sizes = by_mode["component"].table.query("image == '1.png' and `class` == 'big'")
    assert sizes["pixels"].tolist() == [14 * 14, 4 * 6]
    assert sizes["target"].tolist() == ["big#0", "big#1"]
    assert by_mode["largest"].max_per_image == 2
    sides = {
        mode: by_mode[mode].table.query("image == '0.png'")["pixels"].tolist()
        for mode in ("left", "right")
    }
    assert sides == {
        "left": [13 * 14],
        "right": [13 * 14],
    }  # the small block is not large enough to be one of two


def test_the_leftmost_of_two_lungs_is_found():
    lungs = np.zeros((20, 30), np.uint8)
    lungs[2:15, 18:27] = lungs[2:14, 2:10] = lungs[17:19, 0:2] = 1
    for mode, n in (("left", 12 * 8), ("right", 13 * 9), ("largest", 13 * 9)):
        assert [mask.sum() for *_, mask in ObjectRule(mode).find(lungs, 1)] == [n]


def test_small_objects_are_left_out(data):
    found = scan(data, ObjectRule("component", min_pixels=30), progress=False)
    assert found.table["pixels"].min() >= 30
    with pytest.raises(UserError, match="nothing to segment"):
        scan(data, ObjectRule(min_pixels=10_000), progress=False)


def interpolate(pixels, size):
    """PyTorch's bilinear interpolation of (..., H, W)."""
    torch = needs.torch()
    tensor = torch.tensor(np.asarray(pixels, np.float32))
    return torch.nn.functional.interpolate(tensor, size, mode="bilinear").numpy()


def original(segmenter, pixels, codes, drawn):
    """SAM's own way: preprocess, embed, decode one prompt, enlarge to the input, cut, enlarge to
    the image.
    """
    module, preprocess = segmenter.module, segmenter.transform.preprocess
    height, width = codes.shape
    h, w = preprocess.resized_shape(height, width)
    embedding = module.embed(jnp.asarray(preprocess(pixels))[None])
    scaled = drawn.reshape(-1, 2) * [w / width, h / height]
    if drawn.ndim == 1:
        tokens = module.prompt_format.tokens(boxes=scaled.reshape(1, 1, 4))
    else:
        tokens = module.prompt_format.tokens(scaled[None, None], np.ones((1, 1, len(scaled)), int))
    decoded = module.decode(embedding, tokens)
    low = decoded["masks"][0, :, 1:]
    big = interpolate(low, (preprocess.size, preprocess.size))[..., :h, :w]
    return interpolate(big, (height, width))[0], np.asarray(decoded["iou"][0, 0, 1:])


@pytest.mark.parametrize("k", [0, 4, 9])
def test_every_measure_equals_that_of_the_original_way(task, measured, k):
    targets, (result, _) = task.dataset, measured
    row = result.table.iloc[k]
    codes = targets.read_mask(row["image"])
    code = targets.mask_classes.index(row["class"]) + 1
    mask = next(
        mask for c, part, mask in RULE.find(codes, 2) if (c, part) == (code, row["component"])
    )
    for place, drawn in enumerate(PLAN.draw(mask, row["image"], f"{code}#{row['component']}")):
        logits, iou = original(task.segmenter, targets.read(row["image"]), codes, drawn)
        masks = logits > 0
        dice = measure(masks, np.broadcast_to(mask, masks.shape))["dice"]
        for s, best in enumerate((iou.argmax(), dice.argmax())):
            expected = measure(masks[best][None], mask[None], MEASURES, tolerance=2.0)
            np.testing.assert_allclose(
                result.values[k, place, s], [expected[name][0] for name in MEASURES], atol=2e-3
            )
        assert result.predicted_iou[k, place] == pytest.approx(iou.max(), abs=1e-4)


def test_an_oracle_is_never_worse(measured):
    dice = measured[0].values[..., 0]
    assert (dice[:, :, 1] >= dice[:, :, 0] - 1e-6).all()
    assert (dice[:, :, 1] > dice[:, :, 0] + 1e-3).any()


def test_a_second_run_reads_no_image(task, measured):
    result, root = measured

    def forbidden(image):
        raise AssertionError(image)

    blind = dataclasses.replace(task, dataset=dataclasses.replace(task.dataset, read=forbidden))
    np.testing.assert_array_equal(segment(blind, root, **OPTIONS).values, result.values)


def test_what_the_masks_depend_on_is_in_the_key(task, tmp_path):
    masks = dataclasses.replace(task.segmenter.transform.masks, threshold=1.0)
    transform = dataclasses.replace(task.segmenter.transform, masks=masks)
    changes = (
        {},
        {"plan": dataclasses.replace(PLAN, seed=1)},
        {"scoring": Scoring(("dice",))},
        {"rule": dataclasses.replace(RULE, max_objects=1)},
        {"segmenter": dataclasses.replace(task.segmenter, transform=transform)},
    )
    options = {"batch_size": 2, "shard_batches": 2}
    keys = [
        open_cache(dataclasses.replace(task, **changed), tmp_path, **options).directory
        for changed in changes
    ]
    assert len(set(keys)) == len(keys)


def test_an_unreadable_image_is_quarantined(task, tmp_path):
    def read(image):
        if image == "2.png":
            raise OSError("broken")
        return task.dataset.read(image)

    dataset = dataclasses.replace(task.dataset, read=read, fingerprint="other")
    plan, scoring = PromptPlan(("bbox",)), Scoring(("dice",))
    broken = dataclasses.replace(task, dataset=dataset, plan=plan, scoring=scoring)
    result = segment(broken, tmp_path, **OPTIONS | {"max_unreadable": 0.5})
    assert [entry["image"] for entry in result.quarantined] == ["2.png"]
    assert "2.png" not in set(result.table["image"])
    assert np.isfinite(result.values).all()


def test_a_random_prompt_is_averaged_over_its_draws(measured):
    result, _ = measured
    found = {facts["run"]: values["dice"] for facts, values in runs(result, PLAN, MEASURES)}
    np.testing.assert_allclose(
        found["rands:predicted"],
        (found["rands/0:predicted"] + found["rands/1:predicted"]) / 2,
        rtol=1e-6,
    )
    assert "bbox/0:predicted" not in found


def test_compat_compares_in_the_squashed_input_as_fairmedfm(task):
    own, targets = zoo.MODELS["mobile_sam"].preprocess, task.dataset
    preprocess = own.replace(size=64, resize="squash", interpolation="bilinear_plain", bgr=True)
    masks = MaskFormat("logits", 0.5, through_input=True)
    transform = InputTransform.of(task.segmenter.module, preprocess, masks)
    load = loader(
        dataclasses.replace(
            task,
            segmenter=Segmenter(task.segmenter.module, transform, {}),
            plan=PromptPlan(("bbox", "rand")),
            scoring=Scoring(in_input=True, skip_first_column=True),
        )
    )
    _, arrays, reason = load.map(1)
    assert reason == ""
    pixels, codes = targets.read(load.images[1]), targets.read_mask(load.images[1])
    squashed = interpolate(pixels[..., ::-1].transpose(2, 0, 1)[None], (64, 64))
    expected = (squashed.round()[0].transpose(1, 2, 0) - own.mean) / own.std
    np.testing.assert_allclose(arrays["pixels"], expected, atol=1 / 55)
    seen = nearest(codes, 64, 64)
    mask = next(mask for _, _, mask in RULE.find(seen, 2))
    np.testing.assert_array_equal(arrays["truth"][0, :, 1:], mask[:, 1:])
    assert not arrays["truth"][:, :, 0].any()
    assert not arrays["columns"][0].any()
    y, x = np.nonzero(mask)
    np.testing.assert_array_equal(
        arrays["coords"][0].ravel()[:4], [x.min(), y.min(), x.max(), y.max()]
    )
    low = np.random.default_rng(0).normal(size=(64, 64))
    enlarged = arrays["rows"] @ low @ arrays["columns"].T
    np.testing.assert_allclose(enlarged[:, 1:], low[:, 1:], atol=1e-5)
