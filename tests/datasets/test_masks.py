"""True segmentations of images: codes, classes, and images that have none."""

import dataclasses
import pickle

import numpy as np
import pytest
from helpers import needs
from PIL import Image

from fairjax import datasets
from fairjax.datasets.masks import NONZERO, Masks
from fairjax.datasets.splits import split
from fairjax.utils.errors import UserError


def masks(files: dict[str, np.ndarray], *values) -> Masks:
    return Masks(files.__getitem__, {"image": tuple(files)}, values)


def test_values_become_codes_in_the_order_of_the_classes():
    raw = np.array([[0, -1], [-2, -1]])
    read = masks({"m": raw}, {"rim": (-1,), "cup": (-2,)})
    assert read.classes == ("rim", "cup")
    assert read("image").tolist() == [[0, 1], [2, 1]]
    assert read("image").dtype == np.uint8


def test_several_files_are_one_mask():
    left, right = np.array([[255, 0, 0]]), np.array([[0, 0, 255]])
    read = masks({"l": left, "r": right}, {"left lung": NONZERO}, {"right lung": NONZERO})
    assert read("image").tolist() == [[1, 0, 2]]


def test_values_without_a_class_and_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"mask m holds \[7\], which no class names"):
        masks({"m": np.array([[0, 1, 7]])}, {"liver": (1,)})("image")
    with pytest.raises(ValueError, match="have shapes"):
        masks({"a": np.zeros((2, 2)), "b": np.zeros((2, 3))}, {"a": NONZERO}, {"b": NONZERO})(
            "image"
        )
    with pytest.raises(FileNotFoundError, match="other has no mask"):
        masks({"m": np.zeros((1, 1))}, {"a": NONZERO})("other")


@pytest.fixture
def cxr(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rows = [
        "patientid,sex,age,finding,image,mask",
        "1,F,50,SARS,a.png,a.png",
        "2,M,60,COVID-19,b.png,",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    for name in "ab":
        Image.new("L", (6, 4)).save(tmp_path / "images" / f"{name}.png")
    Image.fromarray(np.eye(4, 6, dtype=bool)).save(tmp_path / "masks" / "a.png")
    return tmp_path


def test_an_image_without_a_mask_is_known_and_the_reader_can_be_sent_to_workers(cxr):
    data = datasets.load("covid_cxr", cxr)
    assert data.has_mask.tolist() == [True, False]
    assert data.mask_classes == ("lung",)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(data.masks))("images/a.png"), np.eye(4, 6)
    )
    with pytest.raises(FileNotFoundError, match=r"images/b\.png has no mask"):
        data.read_mask("images/b.png")


def test_what_a_dataset_is_not_made_for_is_refused_in_one_line(cxr):
    data = datasets.load("synthetic", n_patients=4)
    assert not data.has_mask.any()
    with pytest.raises(UserError, match="synthetic has no masks to segment by"):
        data.read_mask(data.table["image"][0])
    masked = datasets.load("covid_cxr", cxr)
    without = type(data)(
        "seg", masked.table.drop(columns="label"), masked.read, "", masks=masked.masks
    )
    assert not without.labelled
    with pytest.raises(UserError, match="seg has no label to classify by"):
        _ = without.labels
    counts = without.cohort(np.array(["train", "test"]))
    assert "label" not in counts
    assert counts.query("attribute == 'sex' and n_images > 0")[
        ["group", "split"]
    ].values.tolist() == [
        ["female", "train"],
        ["male", "test"],
    ]


def test_images_without_labels_are_split_by_group_alone():
    labelled = datasets.load("synthetic", n_patients=200)
    side = split(dataclasses.replace(labelled, table=labelled.table.drop(columns="label")))
    patients = labelled.table.assign(side=side).drop_duplicates("patient")
    shares = patients.groupby("sex", observed=True)["side"].value_counts(normalize=True).unstack()
    assert np.abs(shares[["train", "validation", "test"]] - [0.6, 0.15, 0.25]).max().max() < 0.03


def test_a_users_table_of_masks_needs_no_label(cxr):
    (cxr / "t.csv").write_text("image,mask,sex\nimages/a.png,masks/a.png,F\nimages/b.png,,M\n")
    options = {"table": "t.csv", "label": "", "mask": "mask", "attributes": ("sex",)}
    data = datasets.load("table", cxr, **options)
    assert (data.labelled, data.mask_classes, data.has_mask.tolist()) == (
        False,
        ("foreground",),
        [True, False],
    )
    Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).save(cxr / "masks" / "a.png")
    data = datasets.load("table", cxr, **options, mask_classes=("1=kidney", "2=tumor", "3=tumor"))
    assert data.mask_classes == ("kidney", "tumor")
    assert data.read_mask("images/a.png").tolist() == [[0, 1], [2, 2]]
    for classes in (("kidney", "tumor"), ("x=kidney",)):
        with pytest.raises(UserError, match="mask_classes must be"):
            datasets.load("table", cxr, **options, mask_classes=classes)


@pytest.mark.parametrize(("name", "masked"), [("isic2017", 1500), ("covid_cxr", 289)])
def test_the_real_masks_fit_their_images(name, masked):
    data = datasets.load(name, needs.data(name))
    assert data.has_mask.sum() == masked
    for image in data.table["image"][data.has_mask].iloc[::100]:
        mask = data.read_mask(image)
        assert mask.shape == data.read(image).shape[:2]
        assert set(np.unique(mask)) == {0, 1}
