"""Volumes: one orientation whatever the file says, spacing in mm, windows, slices; damaged and
hostile files refused.
"""

import gzip
import itertools
import pickle
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
from helpers.trees import write_mha, write_nifti, write_series

from fairjax.datasets.readers.volume_files import (
    VolumeImages,
    VolumeMasks,
    read_volume,
    volume_shape,
)

BODY = np.arange(3 * 4 * 5, dtype=np.int16).reshape(
    3, 4, 5
)  # (x to the right, y to the front, z to the head)
SPACING = (0.5, 0.75, 2.0)


def affine(axes: str) -> np.ndarray:
    """Of a file whose first, second and third axis run to `axes`, as in `RAS` or `PIR`."""
    matrix = np.diag([0.0, 0, 0, 1])
    for number, letter in enumerate(axes):
        row = ["LR", "PA", "IS"].index(next(pair for pair in ("LR", "PA", "IS") if letter in pair))
        matrix[row, number] = SPACING[row] * (1 if letter in "RAS" else -1)
    return matrix


def stored(axes: str) -> np.ndarray:
    """The body as it stands in such a file."""
    rows = [
        ["LR", "PA", "IS"].index(next(pair for pair in ("LR", "PA", "IS") if letter in pair))
        for letter in axes
    ]
    flipped = BODY[tuple(slice(None, None, 1 if letter in axes else -1) for letter in "RAS")]
    return flipped.transpose(rows)


ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.islice(itertools.product(*order), 0, 8, 3)
]


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_orientation_gives_the_same_volume(tmp_path, axes):
    write_nifti(tmp_path / "a.nii.gz", stored(axes), affine(axes))
    volume = read_volume(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(volume.values, BODY.transpose(2, 1, 0))
    assert volume.spacing == pytest.approx((2.0, 0.75, 0.5))
    assert volume_shape(str(tmp_path / "a.nii.gz")) == ((5, 4, 3), pytest.approx((2.0, 0.75, 0.5)))
    canonical = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(volume.values, np.asarray(canonical.dataobj).transpose(2, 1, 0))


def test_nifti_metaimage_and_dicom_agree(tmp_path):
    """ITK and DICOM count to the left and to the back (LPS); an unturned file of either is the body
    turned about.
    """
    zyx = BODY[::-1, ::-1].transpose(2, 1, 0)
    write_mha(tmp_path / "a.mha", zyx, SPACING)
    write_series(tmp_path / "series", zyx.astype(int), SPACING[::-1])
    write_nifti(tmp_path / "a.nii", BODY, affine("RAS"))
    SimpleITK.WriteImage(SimpleITK.ReadImage(tmp_path / "a.mha"), tmp_path / "itk.nii.gz")
    for name in ("a.mha", "series", "a.nii", "itk.nii.gz"):
        volume = read_volume(str(tmp_path / name))
        np.testing.assert_array_equal(volume.values, BODY.transpose(2, 1, 0), name)
        assert volume.spacing == pytest.approx(SPACING[::-1]), name
        assert volume_shape(str(tmp_path / name)) == ((5, 4, 3), pytest.approx(SPACING[::-1])), name


def test_either_byte_order(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(
        nibabel.Nifti1Image(BODY.astype(">i2"), affine("RAS"), header), tmp_path / "big.nii"
    )
    assert (tmp_path / "big.nii").read_bytes()[:4] == struct.pack(">i", 348)
    text = """ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\nDimSize = 3 4 5
ElementSpacing = 0.5 0.75 2\nTransformMatrix = -1 0 0 0 -1 0 0 0 1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"""
    (tmp_path / "big.mha").write_bytes(
        text.encode() + BODY.transpose(2, 1, 0).astype(">i2").tobytes()
    )
    for name in ("big.nii", "big.mha"):
        np.testing.assert_array_equal(
            read_volume(str(tmp_path / name)).values, BODY.transpose(2, 1, 0), name
        )


def test_stored_numbers_are_rescaled(tmp_path):
    image = nibabel.Nifti1Image(BODY, affine("RAS"))
    image.header.set_slope_inter(2, -1024)
    nibabel.save(image, tmp_path / "a.nii.gz")
    values = nibabel.load(tmp_path / "a.nii.gz").get_fdata().transpose(2, 1, 0)
    np.testing.assert_array_equal(read_volume(str(tmp_path / "a.nii.gz")).values, values)


def test_slices_are_shown_as_radiologists_look_at_them(tmp_path):
    body = np.zeros((3, 4, 5), np.int16)
    body[2, 3, 4] = 100  # right, front, head
    write_nifti(tmp_path / "a.nii", body, affine("RAS"))
    corners = {
        "axial": ("a.nii#4", (0, 0)),
        "coronal": ("a.nii#3", (0, 0)),
        "sagittal": ("a.nii#2", (0, 0)),
    }
    for axis, (key, place) in corners.items():
        shown = VolumeImages(str(tmp_path), (0.0, 100.0), axis)(key)
        assert shown[place].tolist() == [255, 255, 255], axis
        assert shown.sum() == 3 * 255
    with pytest.raises(IndexError, match="slice 5 of 5"):
        VolumeImages(str(tmp_path), (0.0, 100.0))("a.nii#5")
    with pytest.raises(ValueError, match=r"is a volume; name a slice as a\.nii#0"):
        VolumeImages(str(tmp_path))("a.nii")


def test_a_window_is_in_hounsfield_units_and_without_one_each_volume_has_its_own(tmp_path):
    hounsfield = np.linspace(-2000, 1000, 60).reshape(3, 4, 5).astype(np.int16)
    write_nifti(tmp_path / "a.nii", hounsfield, affine("RAS"))
    write_nifti(tmp_path / "b.nii", hounsfield * 2 + 1000, affine("RAS"))
    write_nifti(tmp_path / "flat.nii", np.full((3, 4, 5), 7, np.int16))
    shown = VolumeImages(str(tmp_path), (-1250.0, 250.0)).shown("a.nii").transpose(2, 1, 0)
    np.testing.assert_array_equal(shown, np.rint(np.clip((hounsfield + 1250.0) / 1500, 0, 1) * 255))
    own = VolumeImages(str(tmp_path))
    np.testing.assert_allclose(own.shown("a.nii"), own.shown("b.nii").astype(int), atol=1)
    assert (own.shown("a.nii").min(), own.shown("a.nii").max()) == (0, 255)
    assert own.shown("flat.nii").max() == 0


def test_readers_can_be_sent_to_workers_and_resample(tmp_path):
    write_nifti(tmp_path / "a.nii", BODY, affine("RAS"))
    read = pickle.loads(pickle.dumps(VolumeImages(str(tmp_path), spacing=(1.0, 1.5, 0.5))))
    assert read.volume("a.nii").values.shape == read.shape("a.nii") == (10, 2, 3)
    assert read.depth("a.nii") == 10
    assert VolumeMasks(str(tmp_path), (1.0, 1.5, 0.5))("a.nii").shape == (10, 2, 3)


def test_masks_are_whole_numbers(tmp_path):
    write_nifti(tmp_path / "float.nii", BODY.astype(np.float32))
    assert VolumeMasks(str(tmp_path))("float.nii").dtype.kind == "i"
    write_nifti(tmp_path / "half.nii", BODY / 2)
    with pytest.raises(ValueError, match="holds fractions, not labels"):
        VolumeMasks(str(tmp_path))("half.nii")


def test_voxels_that_are_no_numbers_are_refused(tmp_path):
    body = BODY.astype(np.float32)
    body[1, 1, 1] = np.nan
    write_nifti(tmp_path / "a.nii", body)
    with pytest.raises(ValueError, match="holds 1 values that are no numbers"):
        VolumeImages(str(tmp_path))("a.nii#0")


@pytest.mark.parametrize("cut", [0, 100, 348, -100])
def test_truncated_volumes_are_refused(tmp_path, cut):
    rng = np.random.default_rng(0)
    write_nifti(tmp_path / "a.nii.gz", rng.integers(0, 999, (9, 9, 9)).astype(np.int16))
    write_nifti(tmp_path / "a.nii", rng.integers(0, 999, (9, 9, 9)).astype(np.int16))
    write_mha(tmp_path / "a.mha", rng.integers(0, 999, (9, 9, 9)).astype(np.int16))
    for name in ("a.nii.gz", "a.nii", "a.mha"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
        with pytest.raises((OSError, ValueError, EOFError)):
            read_volume(str(tmp_path / name))


def test_headers_that_claim_more_than_is_read_or_no_place_are_refused(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 9))
    data = header.binaryblock + bytes(4)
    (tmp_path / "huge.nii").write_bytes(data)
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(data))
    (tmp_path / "huge.mha").write_text(
        "NDims = 3\nDimSize = 30000 30000 9\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    for name in ("huge.nii", "huge.nii.gz", "huge.mha"):
        with pytest.raises(ValueError, match="8100000000 values, where 1 to"):
            read_volume(str(tmp_path / name))
    (tmp_path / "swapped.nii").write_bytes(struct.pack("<i", 1543569408 + 1) + data[4:])
    with pytest.raises(ValueError, match=r"swapped\.nii"):
        read_volume(str(tmp_path / "swapped.nii"))
    write_nifti(tmp_path / "flat.nii", np.zeros((3, 4), np.int16))
    with pytest.raises(ValueError, match="which is no volume"):
        read_volume(str(tmp_path / "flat.nii"))
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="is no volume that can be read"):
        read_volume(str(tmp_path / "a.txt"))


def test_a_metaimage_whose_voxels_lie_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(60))
    for place in ("../secret.raw", "LIST", str(tmp_path / "secret.raw")):
        text = f"NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {place}\n"
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "root" / "a.mha").write_text(text)
        with pytest.raises(ValueError, match="no MetaImage with its voxels in the same file"):
            read_volume(str(tmp_path / "root" / "a.mha"))
