"""Slices, batches, resampling and pooling of volumes."""

import dataclasses

import numpy as np
import pytest
from helpers.trees import records, write_csv, write_nifti
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from fairjax import datasets
from fairjax.datasets.volumes import (
    AXES,
    Volume,
    pool,
    resample,
    select,
    slice_batches,
    slice_of,
    with_foreground,
)
from fairjax.utils.errors import UserError

RNG = np.random.default_rng(0)


def test_resampling_keeps_what_is_constant_and_the_body_in_its_place():
    body = np.zeros((8, 6, 6), np.float32)
    body[4:] = 100  # the upper half
    finer = resample(Volume(body, (2.0, 1.0, 1.0)), (1.0, 1.0, 0.5))
    assert finer.values.shape == (16, 6, 12)
    assert finer.spacing == (1.0, 1.0, 0.5)
    assert (finer.values[:7] == 0).all()
    assert (finer.values[9:] == 100).all()
    back = resample(finer, (2.0, 1.0, 1.0))
    np.testing.assert_allclose(back.values[[0, 1, 2, 5, 6, 7]], body[[0, 1, 2, 5, 6, 7]])


def test_resampling_is_linear_interpolation_between_the_middles_of_voxels():
    ramp = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    finer = resample(Volume(ramp, (1.0, 1.0, 1.0)), (0.5, 1.0, 1.0)).values[:, 0, 0]
    middles = (np.arange(20) + 0.5) * 0.5 - 0.5
    np.testing.assert_allclose(finer, np.clip(middles, 0, 9), atol=1e-5)
    np.testing.assert_allclose(
        finer, ndimage.map_coordinates(ramp[:, 0, 0], [middles], order=1, mode="nearest"), atol=1e-5
    )


def test_no_label_is_made_up_between_two_others():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:3], labels[3:] = 1, 3
    done = resample(Volume(labels, (1.0, 1.0, 1.0)), (0.7, 0.9, 1.3), labels=True)
    assert set(np.unique(done.values)) == {1, 3}
    assert done.values.dtype == np.uint8


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.0, 1.0, 1.0), (1.0, np.nan, 1.0)])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(UserError, match="three positive numbers in mm"):
        resample(Volume(np.zeros((2, 2, 2)), (1.0, 1.0, 1.0)), spacing)


@given(depth=st.integers(1, 500), count=st.integers(0, 60), middle=st.floats(0.01, 1.0))
def test_chosen_slices_are_there_increase_and_lie_about_the_middle(depth, count, middle):
    chosen = select(depth, count, middle)
    assert chosen.min() >= 0
    assert chosen.max() < depth
    assert (np.diff(chosen) > 0).all()
    n = max(round(depth * middle), 1)
    assert len(chosen) == (n if count == 0 else min(count, n))
    assert abs((chosen.min() + chosen.max()) / 2 - (depth - 1) / 2) <= 1 + n / max(len(chosen), 1)


def test_slices_with_foreground():
    mask = np.zeros((5, 4, 3), np.uint8)
    mask[1, 0, 0], mask[3, 1:3, 1] = 1, 2
    assert with_foreground(mask).tolist() == [1, 3]
    assert with_foreground(mask, least=2).tolist() == [3]
    assert with_foreground(mask, label=1).tolist() == [1]
    assert with_foreground(mask, "sagittal").tolist() == [0, 1]
    assert with_foreground(np.zeros((5, 4, 3))).tolist() == []


@pytest.mark.parametrize("axis", AXES)
def test_batches_have_one_shape_and_every_slice_with_its_mask(axis):
    values, mask = RNG.normal(size=(5, 4, 3)), RNG.integers(0, 3, (5, 4, 3))
    index = np.arange(values.shape[AXES[axis]])
    batches = list(slice_batches(values, index, 2, mask=mask, axis=axis))
    assert {batch.image.shape for batch in batches} == {(2, *slice_of(values, 0, axis).shape)}
    real = [(k, image, truth) for batch in batches for k, image, truth, real in zip(*batch) if real]
    assert [k for k, _, _ in real] == index.tolist()
    for k, image, truth in real:
        np.testing.assert_array_equal(image, slice_of(values, k, axis))
        np.testing.assert_array_equal(truth, slice_of(mask, k, axis))
    assert next(iter(slice_batches(values, index, 2))).mask is None
    with pytest.raises(ValueError, match="the mask has shape"):
        next(slice_batches(values, index, 2, mask=mask[:1]))


@settings(max_examples=50)
@given(
    scores=hnp.arrays(np.float32, (3, 12), elements=st.floats(0, 1, width=32)),
    volume=hnp.arrays(np.int32, 12, elements=st.integers(0, 3)),
)
def test_pooled_scores_are_those_of_each_volumes_slices(scores, volume):
    volume = np.unique(volume, return_inverse=True)[1].astype(np.int32)
    for how, reduce in (("max", np.max), ("mean", np.mean)):
        expected = [
            [reduce(run[volume == v].astype(np.float64)) for v in range(volume.max() + 1)]
            for run in scores
        ]
        smallest = np.finfo(np.float32).tiny  # below it float32 has fewer digits
        np.testing.assert_allclose(pool(scores, volume, how), expected, rtol=1e-6, atol=smallest)


def test_the_score_of_a_volume_is_that_of_its_slice_with_the_highest_probability():
    assert pool(np.array([[0.1, 0.9, 0.2, 0.3]]), np.array([0, 0, 1, 1])).tolist() == [[0.9, 0.3]]
    with pytest.raises(UserError, match="way to pool slices 'median'"):
        pool(np.zeros((1, 2)), np.array([0, 1]), "median")


@pytest.fixture
def scans(tmp_path):
    rows = records("path|label|pid|sex", "a.nii|0|1|f", "b.nii|1|2|m", "c.nii|1|2|m")
    write_csv(tmp_path / "t.csv", rows)
    for name, depth in (("a", 4), ("b", 6)):
        write_nifti(tmp_path / f"{name}.nii", RNG.integers(0, 999, (3, 5, depth)).astype(np.int16))
    (tmp_path / "c.nii").write_bytes(b"damaged")
    return tmp_path


OPTIONS = {
    "table": "t.csv",
    "image": "path",
    "patient": "pid",
    "attributes": ("sex",),
    "dimensions": "2.5D",
}


def test_a_users_own_volumes_become_slices(scans):
    data = datasets.load("table", scans, **OPTIONS)
    assert data.volumetric
    slices = data.slices()
    assert slices.table["image"].tolist() == [f"a.nii#{i}" for i in range(4)] + [
        f"b.nii#{i}" for i in range(6)
    ] + ["c.nii#0"]
    assert slices.labels.tolist() == [0] * 4 + [1] * 7
    assert slices.volumes().tolist() == [0] * 4 + [1] * 6 + [2]
    assert slices.attributes == ["sex"]
    assert slices.by_volume().table["volume"].tolist() == ["a.nii", "b.nii", "c.nii"]
    with pytest.raises(ValueError, match=r"c\.nii is no NIfTI file"):
        slices.read("c.nii#0")  # a volume that cannot be read is found to be so, and counted
    assert len(data.slices(2)) == 2 + 2 + 1
    assert data.slices(2).fingerprint != slices.fingerprint
    with pytest.raises(UserError, match="table holds images, no volumes"):
        datasets.load("table", scans, **(OPTIONS | {"dimensions": "2D"})).slices()


def test_counts_are_of_volumes_and_not_of_slices(scans):
    slices = datasets.load("table", scans, **OPTIONS).slices()
    counts = slices.cohort(np.where(slices.volumes() == 0, "train", "test"))
    assert counts["n_images"].sum() == 3
    assert counts.query("split == 'test' and label == 1 and group == 'm'")[
        ["n_images", "n_patients"]
    ].values.tolist() == [[2, 1]]


def test_options_of_volumes_that_do_not_fit_get_one_line(scans):
    for options, says in (
        ({"dimensions": "4D"}, "unknown dimensions '4D'"),
        ({"axis": "oblique"}, "unknown axis 'oblique'"),
        ({"window": (250, -1250)}, "two increasing numbers"),
        ({"spacing": (1.0, 0.0, 1.0)}, "three positive numbers"),
    ):
        with pytest.raises(UserError, match=says):
            datasets.load("table", scans, **(OPTIONS | options))


def test_slices_of_resampled_volumes_follow_the_spacing(scans):
    data = datasets.load("table", scans, **OPTIONS, spacing=(0.5, 1.0, 1.0))
    assert len(data.slices()) == 8 + 12 + 1
    assert data.read_volume("a.nii").spacing == (0.5, 1.0, 1.0)
    assert data.fingerprint != datasets.load("table", scans, **OPTIONS).fingerprint
    assert dataclasses.replace(data).slices().read("b.nii#11").shape == (5, 3, 3)
