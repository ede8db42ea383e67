"""NPZ and HDF5: the arrays that are named, and nothing that is too large, elsewhere or not numbers."""

import io
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from helpers.trees import write_hdf5, write_npz

from fairjax.datasets.readers.arrays import (
    ArrayImages,
    ArrayMasks,
    FrameImages,
    Frames,
    read_member,
)

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_the_first_key_that_is_there_is_read(tmp_path):
    write_npz(tmp_path / "a.npz", fundus=GREY, other=GREY[::-1])
    read = ArrayImages(str(tmp_path), ("slo_fundus", "fundus"))
    np.testing.assert_array_equal(read("a.npz"), np.repeat(GREY[..., None], 3, -1))
    with pytest.raises(ValueError, match="has no array 'rnflt'"):
        ArrayImages(str(tmp_path), ("rnflt",))("a.npz")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2"])
def test_arrays_of_either_byte_order_and_layout_are_the_same_pixels(tmp_path, dtype):
    write_npz(tmp_path / "a.npz", rnflt=np.asfortranarray(GREY.astype(dtype)))
    pixels = ArrayImages(str(tmp_path), ("rnflt",), (0.0, 23.0))("a.npz")
    np.testing.assert_array_equal(pixels[..., 0], np.rint(GREY * (255 / 23)))


def test_channels_first_or_last_are_rgb(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_npz(tmp_path / "last.npz", x=colours)
    write_npz(tmp_path / "first.npz", x=colours.transpose(2, 0, 1))
    for name in ("last.npz", "first.npz"):
        np.testing.assert_array_equal(ArrayImages(str(tmp_path), ("x",))(name), colours)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path, value):
    image = GREY.astype(np.float32)
    image[1, 2] = value
    write_npz(tmp_path / "a.npz", rnflt=image)
    with pytest.raises(ValueError, match="holds 1 values that are no numbers"):
        ArrayImages(str(tmp_path), ("rnflt",), (0.0, 1.0))("a.npz")


def test_numbers_without_a_range_need_a_window(tmp_path):
    write_npz(tmp_path / "a.npz", x=GREY.astype(np.float32))
    with pytest.raises(ValueError, match="the dataset must tell a window"):
        ArrayImages(str(tmp_path), ("x",))("a.npz")


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects"):
        read_member(str(tmp_path / "a.npz"), ("x",))


@pytest.mark.parametrize("cut", [0, 30, 120, -10])
def test_truncated_archives_are_refused(tmp_path, cut):
    write_npz(
        tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    )
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:cut])
    with pytest.raises((OSError, ValueError)):
        ArrayImages(str(tmp_path), ("x",))("a.npz")


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path):
    """Whether the array's own header is honest or not; in a process of its own, whose memory is its
    own.
    """
    for name, shape, mebibytes in (("honest.npz", (2**16, 2**16), 1), ("lying.npz", (4, 6), 128)):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        with (
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("x.npy", "w") as file,
        ):
            file.write(buffer.getvalue())
            for _ in range(mebibytes):
                file.write(bytes(2**20))
    script = """
import resource, sys
from fairjax.datasets.readers.arrays import ArrayImages
read = ArrayImages(sys.argv[1], ("x",))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("honest.npz", "lying.npz"):
    try:
        read(name)
    except ValueError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    honest, lying, kib = done.stdout.splitlines()
    assert "4294967296 values, where" in honest
    assert "is not as long as its header says" in lying
    assert int(kib) < 50 * 1024


@pytest.fixture
def clip(tmp_path):
    write_hdf5(
        tmp_path / "d.hdf5",
        image=np.stack([GREY, GREY + 1]),
        mask=np.stack([GREY > 3, GREY > 9]) * np.uint8(255),
    )
    return tmp_path


def test_frames_are_read_one_at_a_time(clip):
    np.testing.assert_array_equal(FrameImages(str(clip), "image")("d.hdf5#1")[..., 0], GREY + 1)
    np.testing.assert_array_equal(Frames(str(clip), "mask")("d.hdf5#0") > 0, GREY > 3)
    for name, says in (("d.hdf5#2", "has 2 frames"), ("d.hdf5", "has 2 frames")):
        with pytest.raises(ValueError, match=says):
            FrameImages(str(clip), "image")(name)
    with pytest.raises(ValueError, match="no array 'frames'; there are: image, mask"):
        FrameImages(str(clip), "frames")("d.hdf5#0")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "d.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(OSError, match=r"d\.hdf5|file"):
        FrameImages(str(tmp_path), "image")("d.hdf5#0")


def test_arrays_that_lie_in_other_files_are_not_followed(clip):
    with h5py.File(clip / "links.hdf5", "w") as file:
        file["image"] = h5py.ExternalLink(str(clip / "d.hdf5"), "image")
        file["soft"] = h5py.SoftLink("/image")
        file.create_dataset("raw", (2, 4), "u1", external=[(str(clip / "d.hdf5"), 0, 8)])
        layout = h5py.VirtualLayout((2, 4, 6), "u1")
        layout[:] = h5py.VirtualSource(str(clip / "d.hdf5"), "image", (2, 4, 6))
        file.create_virtual_dataset("virtual", layout)
    for key in ("image", "soft", "raw", "virtual"):
        with pytest.raises(ValueError, match="no array of this file itself"):
            Frames(str(clip), key)("links.hdf5#0")


def test_masks_keep_their_values(tmp_path):
    borders = np.array([[0, -1], [-2, -1]], np.int16)
    write_npz(tmp_path / "a.npz", disc_cup_borders=borders)
    np.testing.assert_array_equal(
        ArrayMasks(str(tmp_path), ("disc_cup_borders",))("a.npz"), borders
    )
