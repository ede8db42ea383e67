"""Volumes are segmented slice by slice, evaluated one value per volume and class, in millimetres of
their files.
"""

import numpy as np
import pandas as pd
import pytest
from helpers.segmentation import config
from helpers.trees import write_dicom, write_image, write_mha, write_nifti

from fairjax import datasets
from fairjax.segmentation.evaluate import by_volume
from fairjax.segmentation.objects import ObjectRule, scan
from fairjax.segmentation.segmenter import Measured
from fairjax.tasks.segmentation import pipeline

DEPTH, SIDE = 5, 24
SPACING = (0.5, 0.75, 3.0)  # mm along x, y, z


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Six volumes of five people, NIfTI and MetaImage: a block in slices 1 to 3, and a small one in
    slice 2.
    """
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    rows = []
    for i in range(6):
        codes = np.zeros((DEPTH, SIDE, SIDE), np.uint8)
        codes[1:4, 4 : 12 + i, 5:15] = 1
        codes[2, 16:20, 16:21] = 2
        pixels = (rng.normal(size=codes.shape) * 20 + 80 * codes).astype(np.int16)
        ending = (".nii.gz", ".mha")[i % 2]
        for name, values in ((f"{i}{ending}", pixels), (f"{i}_mask{ending}", codes)):
            if i % 2:
                write_mha(folder / name, values, SPACING)
            else:
                write_nifti(folder / name, values.T, np.diag([*SPACING, 1.0]))
        row = {
            "path": f"{i}{ending}",
            "mask": f"{i}_mask{ending}",
            "who": f"p{i % 5}",
            "sex": "FM"[i % 5 % 2],
        }
        rows.append(row | {"side": "LR"[i % 5 // 3]})
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder


def load(folder, **options):
    words = {
        "table": "t.csv",
        "image": "path",
        "label": "",
        "patient": "who",
        "mask": "mask",
        "dimensions": "3D",
    }
    classes = ("1=organ", "2=lesion")
    return datasets.load(
        "table", folder, attributes=["sex"], mask_classes=classes, **words, **options
    )


@pytest.fixture(scope="module")
def finished(volumes, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = config(
        volumes,
        checkpoint,
        prompting__prompts="bbox",
        prompting__cases=1,
        dataset__dimensions="3D",
        dataset__mask_classes=("1=organ", "2=lesion"),
    )
    pipeline.run(settings, folder / "work", folder / "cache", progress=False)
    return folder / "work"


def test_a_volume_has_the_mean_of_its_slices(finished):
    objects = pd.read_parquet(finished / "scores" / "objects.parquet").query(
        "selection == 'predicted'"
    )
    assert len(objects) == 6 * (3 + 1)  # slices that hold the organ, and the lesion
    whole = (
        objects.assign(volume=objects["image"].str.partition("#")[0])
        .groupby(["volume", "class"])["dice"]
        .mean()
    )
    assert len(whole) == 12
    tidy = pd.read_parquet(finished / "results.parquet").query(
        "run == 'bbox:predicted' and metric == 'dice'"
    )
    overall = tidy.query("attribute == 'all' and group == 'overall'").iloc[0]
    assert overall["value"] == pytest.approx(whole.mean(), rel=1e-6)
    assert overall["n"] == 12
    women = tidy.query("attribute == 'sex' and group == 'F'").iloc[0]
    assert women["n"] == 8  # two volumes of p0, one each of p2 and p4, two classes


def test_the_report_says_what_a_value_is_and_in_which_unit(finished):
    page = (finished / "report" / "index.html").read_text()
    assert "Slices were segmented one by one" in page
    assert "in mm, with the spacing of their files, in 18 images" in page


def test_slices_tell_the_spacing_of_their_volume(volumes):
    data = load(volumes).slices()
    for image in ("0.nii.gz#2", "1.mha#2"):
        assert data.pixel_spacing(image) == pytest.approx((0.75, 0.5))
    assert load(volumes, axis="sagittal").slices().pixel_spacing("1.mha#0") == pytest.approx(
        (3.0, 0.75)
    )
    assert load(volumes, axis="coronal").slices().pixel_spacing("1.mha#0") == pytest.approx(
        (3.0, 0.5)
    )
    assert load(volumes, spacing=(1.0, 2.0, 4.0)).slices().pixel_spacing("0.nii.gz#0") == (2.0, 4.0)
    table = scan(data, ObjectRule(), progress=False).table
    assert table[["mm_y", "mm_x"]].drop_duplicates().to_numpy().tolist() == [
        pytest.approx([0.75, 0.5])
    ]


def test_dicom_files_tell_their_spacing_and_pictures_do_not(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.zeros((4, 5), np.uint16), PixelSpacing=[0.2, 0.3])
    write_dicom(tmp_path / "b.dcm", np.zeros((4, 5), np.uint16), ImagerPixelSpacing=[0.14, 0.14])
    write_dicom(tmp_path / "c.dcm", np.zeros((4, 5), np.uint16))
    write_image(tmp_path / "d.png")
    read = datasets.readers.images.ImageFiles(str(tmp_path))
    spacings = [read.pixel_spacing(name) for name in ("a.dcm", "b.dcm", "c.dcm", "d.png")]
    assert spacings == [(0.2, 0.3), (0.14, 0.14), None, None]


def test_a_measure_that_is_undefined_in_a_slice_is_left_out_there():
    table = pd.DataFrame(
        {
            "row": [0, 1, 2],
            "image": ["a#0", "a#1", "b#0"],
            "class": "x",
            "target": "x#0",
            "pixels": 2,
        }
    )
    values = np.array([[1.0, 4.0], [0.5, np.nan], [0.25, np.nan]]).reshape(3, 1, 1, 2).repeat(2, 2)
    measured = Measured(table, values, np.array([[0.2], [0.4], [0.6]]), np.ones(3, bool), [])
    pooled = by_volume(measured, np.array([0, 0, 1]))
    np.testing.assert_allclose(pooled.values[:, 0, 0], [[0.75, 4.0], [0.25, np.nan]])
    np.testing.assert_allclose(pooled.predicted_iou, [[0.3], [0.6]])
    assert pooled.table["image"].tolist() == ["a", "b"]
    assert pooled.table["pixels"].tolist() == [4, 2]
