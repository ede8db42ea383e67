"""Masks as people have them, and audits of segmentations against fairmedfm."""

import warnings

import fairmedfm
import numpy as np
import pandas as pd
import pytest
from fairmedfm._inputs import dice_scores
from helpers import needs
from helpers.trees import write_nifti
from PIL import Image

import fairjax
from fairjax.auditing.masks import foreground, measure
from fairjax.utils.errors import UserError


def make(n=60, seed=0):
    rng = np.random.default_rng(seed)
    true = np.zeros((n, 40, 50), bool)
    true[:, 10:30, 15:35] = True
    pred = true.copy()
    for i in range(n):
        pred[i] = np.roll(true[i], rng.integers(0, 8), 0)
    return pred, true, rng.choice(["F", "M", "X"], n)


def test_dice_of_masks_equals_that_of_fairmedfm_in_every_form(tmp_path):
    pred, true, _ = make(6)
    pred[1] = False
    pred[2] = true[2] = False
    expected = dice_scores(pred, true)
    paths = []
    for i, (a, b) in enumerate(zip(pred, true)):
        np.save(tmp_path / f"{i}.npy", a)
        Image.fromarray((b * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
        paths.append((tmp_path / f"{i}.npy", str(tmp_path / f"{i}.png")))
    forms = [
        (pred, true),
        (list(pred), list(true.astype(int))),
        tuple(zip(*paths)),
    ]
    forms += [
        (pred * 0.9 + 0.05, true),
        (pd.Series([a for a, _ in paths]), pd.Series([b for _, b in paths])),
    ]
    for a, b in forms:
        np.testing.assert_allclose(measure(a, b)["dice"], expected, atol=1e-6)


def test_masks_may_be_tensors():
    torch = needs.torch()
    pred, true, _ = make(6)
    found = measure(torch.tensor(pred), torch.tensor(true))["dice"]
    np.testing.assert_allclose(found, dice_scores(pred, true), atol=1e-6)


def test_cropping_and_padding_change_no_distance():
    pred, true, _ = make(4)
    true[3] = False
    plain = measure(pred, true, ("hd95", "nsd"), spacing=(1.0, 2.0), tolerance=2.0)
    moved = measure(
        np.pad(pred, ((0, 0), (17, 3), (5, 60))),
        np.pad(true, ((0, 0), (17, 3), (5, 60))),
        ("hd95", "nsd"),
        spacing=(1, 2),
        tolerance=2.0,
    )
    for name in plain:
        np.testing.assert_array_equal(plain[name], moved[name])
    assert np.isnan(plain["hd95"][3])
    assert plain["nsd"][3] == 0


@pytest.mark.parametrize(
    ("pred", "true", "options", "message"),
    [
        (np.ones((2, 4, 4)), np.ones((3, 4, 4)), {}, "2 predicted and 3 true masks"),
        (
            np.ones((2, 4, 4)),
            np.ones((2, 4, 5)),
            {},
            r"case 0: the predicted mask is \(4, 4\), the true one \(4, 5\)",
        ),
        (np.full((1, 4, 4), 3.5), np.ones((1, 4, 4)), {}, "holds 1 values from 3.5 to 3.5"),
        (np.ones((1, 4, 4)), np.full((1, 4, 4), 0.5), {}, "true mask 0 holds 1 values from 0.5"),
        (["nowhere.png"], ["nowhere.png"], {}, "there is no predicted mask nowhere.png"),
        ("one.png", "two.png", {}, "not a single path"),
        (
            np.ones((1, 4, 4)),
            np.ones((1, 4, 4)),
            {"spacing": (1, 1, 1)},
            "spacing must be 2 positive numbers",
        ),
        (np.ones((1, 4, 4)), np.ones((1, 4, 4)), {"metrics": ("dyce",)}, "did you mean 'dice'"),
    ],
)
def test_what_is_no_mask_is_named(pred, true, options, message):
    with pytest.raises(UserError, match=message):
        measure(pred, true, **options)


def test_damaged_and_unknown_files_are_named(tmp_path):
    for name, message in {"a.png": "damaged", "b.npy": "damaged", "c.jpeg2": "give .png"}.items():
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(UserError, match=message):
            foreground(tmp_path / name, "mask")
    np.save(tmp_path / "d.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects, which are never read"):
        foreground(tmp_path / "d.npy", "mask")


def test_a_label_chooses_the_foreground():
    codes = np.array([[0, 1], [2, 2]])
    assert foreground(codes, "mask", label=2).sum() == 2
    with pytest.raises(UserError, match=r"holds 3 values from 0 to 2: .*mask_label"):
        foreground(codes, "mask")


def coloured(shape, on, off=0):
    """An image of two colours."""
    return lambda b: np.where(b[..., None], on, np.full(shape, off)).astype(np.uint8)


KINDS = {
    "255": lambda b: Image.fromarray(b.astype(np.uint8) * 255),
    "1": lambda b: Image.fromarray(b.astype(np.uint8)),
    "bool": Image.fromarray,
    "green": lambda b: Image.fromarray(coloured(4, (0, 255, 0, 160))(b), "RGBA"),
    "blue": lambda b: Image.fromarray(coloured(3, (0, 0, 255))(b)),
    "orange": lambda b: Image.fromarray(coloured(3, (255, 165, 0))(b)),
    "opaque": lambda b: Image.fromarray(
        np.where(b[..., None], (255, 255, 255, 255), (0, 0, 0, 255)).astype(np.uint8), "RGBA"
    ),
    "opacity": lambda b: Image.fromarray(
        np.stack([np.full(b.shape, 255), b * 255], -1).astype(np.uint8), "LA"
    ),
    "palette": lambda b: with_palette(b, [0, 0, 0, 255, 0, 0]),
    "inverted palette": lambda b: with_palette(~b, [255, 255, 255, 0, 0, 0]),
    "16 bits": lambda b: Image.fromarray(b.astype(np.uint16) * 65535),
}


def with_palette(values, palette):
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette(palette)
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_of_two_values_is_the_same_in_every_kind_of_image(tmp_path, kind):
    mask = make(1)[1][0]
    KINDS[kind](mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(foreground(tmp_path / "m.png", "mask"), mask)
    assert measure([tmp_path / "m.png"], [mask])["dice"] == pytest.approx(1)


def test_soft_masks_are_refused_or_cut_where_it_is_told(tmp_path):
    yy, xx = np.mgrid[:40, :40]
    probability = 1 / (1 + np.exp((np.hypot(yy - 20, xx - 20) - 9) / 2))
    soft = {
        "8": np.ceil(probability * 255).astype(np.uint8),
        "16": np.ceil(probability * 65535).astype(np.uint16),
        "background": np.maximum(np.ceil(probability * 255), 1).astype(np.uint8),
    }
    for name, values in soft.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(values).save(path)
        with pytest.raises(UserError, match="values from .*: a soft mask is cut by a mask_thresh"):
            measure([path], [probability > 0.5])
        cut = values >= 0.5 * np.iinfo(values.dtype).max
        assert measure([path], [cut], mask_threshold=0.5)["dice"] == pytest.approx(1)
        assert measure([path], [path], mask_threshold=0.25)["dice"] == pytest.approx(1)
    red_on_white = np.where((probability > 0.5)[..., None], (255, 0, 0), 255).astype(np.uint8)
    Image.fromarray(red_on_white).save(tmp_path / "red.png")
    with pytest.raises(UserError, match="is in colours"):
        measure([tmp_path / "red.png"], [probability > 0.5])


def test_masks_of_volumes_are_read_as_those_of_datasets(tmp_path):
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:3, 2:4, 1:3] = 1
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    write_nifti(tmp_path / "a.nii.gz", mask)
    write_nifti(tmp_path / "b.nii", mask[::-1].copy(), flipped)
    found = measure([tmp_path / "a.nii.gz"], [tmp_path / "b.nii"])
    assert found["dice"] == 1  # the same voxels, stored from the other side
    write_nifti(tmp_path / "c.nii.gz", mask * np.arange(1, 5, dtype=np.uint8))
    with pytest.raises(UserError, match="mask_label"):
        measure([tmp_path / "c.nii.gz"], [mask])


@pytest.mark.parametrize("seed", range(3))
def test_the_summary_of_compat_equals_that_of_fairmedfm(seed):
    rng = np.random.default_rng(seed)
    n = 80
    dice, groups = (
        rng.beta(6, 2, n).round(2),
        pd.DataFrame({"sex": rng.choice(["F", "M"], n), "site": rng.choice(list("abc"), n)}),
    )
    groups.loc[3, "sex"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = fairmedfm.evaluate_segmentation(groups, dice=dice)
    got = fairjax.audit_segmentation(dice, groups, policy="compat", n_boot=0, n_permutations=0)
    for theirs, ours in ((expected.summary, got.summary), (expected.by_group, got.by_group)):
        assert ours.index.tolist() == theirs.index.tolist()
        for column in theirs.columns.drop("skipped", errors="ignore"):
            np.testing.assert_allclose(
                ours[column].astype(float), theirs[column].astype(float), atol=1e-6, err_msg=column
            )


def test_masks_are_audited_with_every_measure_and_interval():
    pred, true, groups = make()
    metrics = ("dice", "iou", "nsd", "hd95")
    report = fairjax.audit_segmentation(
        pred_masks=pred,
        true_masks=true,
        groups=groups,
        metrics=metrics,
        n_boot=100,
        n_permutations=50,
    )
    assert set(report.results["metric"]) == {
        name + end for name in metrics for end in ("", "_median")
    }
    dice = measure(pred, true)["dice"]
    for group in "FMX":
        row = report.by_group.loc["group", group]
        assert row["dice"] == pytest.approx(dice[groups == group].mean())
        assert row["dice_median"] == pytest.approx(np.median(dice[groups == group]))
        assert row["dice_low"] <= row["dice"] <= row["dice_high"]
    gap = report.results.query("metric == 'dice' and group == 'gap'").iloc[0]
    assert gap["p_value"] > 0
    assert np.isnan(report.results["n_positive"]).all()


def test_wrong_segmentation_input_is_named():
    with pytest.raises(UserError, match="give dice, or both"):
        fairjax.audit_segmentation(groups=[0, 1])
    with pytest.raises(UserError, match=r"dice ranges from 0.2 to 1.5; dice must be in \[0, 1\]"):
        fairjax.audit_segmentation([0.2, 1.5], [0, 1])
    with pytest.raises(UserError, match="1 rows have no dice"):
        fairjax.audit_segmentation([0.2, np.nan], [0, 1])
