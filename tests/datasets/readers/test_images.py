"""Image files and DICOM: pixels as they should be looked at, and damaged or hostile files refused."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from helpers.trees import dicom, write_dicom, write_image, write_series
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from fairjax.datasets.readers.dicom import read_series
from fairjax.datasets.readers.images import ImageFiles, MaskImages
from fairjax.models.preprocess import Preprocess

RAMP = np.arange(24, dtype=np.uint16).reshape(4, 6)


@pytest.fixture
def read(tmp_path):
    return ImageFiles(str(tmp_path))


def test_colours_come_in_the_order_of_rgb(tmp_path, read):
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0], image[1, 2] = (255, 0, 0), (0, 0, 255)
    for name in ("a.png", "a.tiff", "a.bmp"):
        write_image(tmp_path / name, image)
        np.testing.assert_array_equal(read(name), image, name)


def test_a_picture_is_the_array_and_is_preprocessed_to_the_same_bits(tmp_path, read):
    for name, shape in (("a.jpg", (40, 50, 3)), ("a.png", (40, 50))):
        write_image(
            tmp_path / name, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        )
        np.testing.assert_array_equal(np.asarray(read.picture(name)), read(name))
        for preprocess in (
            Preprocess(size=24),
            Preprocess(size=24, resize="longest"),
            Preprocess(size=40, resize="shorter"),
        ):
            np.testing.assert_array_equal(preprocess(read.picture(name)), preprocess(read(name)))


@pytest.mark.parametrize("order", [">u2", "<u2"])
def test_sixteen_bits_fill_the_range_of_eight_in_either_byte_order(tmp_path, read, order):
    wide = (np.arange(24).reshape(4, 6) * 2849).astype(order)
    Image.fromarray(wide.astype(np.uint16)).save(tmp_path / "a.png")
    tags = [
        (256, 4, 6),
        (257, 4, 4),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8 + 2 + 9 * 12 + 4),
        (277, 3, 1),
    ]
    tags += [(278, 4, 4), (279, 4, 48)]
    end = order[0]
    entries = b"".join(
        struct.pack(f"{end}HHI", tag, kind, 1)
        + (struct.pack(f"{end}H2x", value) if kind == 3 else struct.pack(f"{end}I", value))
        for tag, kind, value in tags
    )
    header = (
        (b"MM" if end == ">" else b"II")
        + struct.pack(f"{end}HI", 42, 8)
        + struct.pack(f"{end}H", len(tags))
    )
    (tmp_path / "a.tif").write_bytes(header + entries + bytes(4) + wide.tobytes())
    expected = np.rint(wide.astype(float) * 255 / 65535)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read(name)[..., 0], expected, name)


def test_pictures_are_turned_as_exif_says_and_their_masks_with_them(tmp_path, read):
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    for name in ("a.jpg", "a.png"):
        Image.fromarray(np.zeros((2, 5), np.uint8)).save(tmp_path / name, exif=exif)
        assert read(name).shape == (5, 2, 3)
    assert MaskImages(str(tmp_path))("a.png").shape == (5, 2)


def test_a_mask_in_colours_is_refused(tmp_path):
    write_image(tmp_path / "grey.png", np.full((2, 2, 3), 7, np.uint8))
    write_image(tmp_path / "red.png", np.array([[[7, 0, 0], [0, 7, 0]]], np.uint8))
    assert MaskImages(str(tmp_path))("grey.png").tolist() == [[7, 7], [7, 7]]
    with pytest.raises(ValueError, match="in colours"):
        MaskImages(str(tmp_path))("red.png")


def png(width: int, height: int) -> bytes:
    """A PNG of zeros that is much smaller than its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    pack = zlib.compressobj(1)
    packed = b"".join(pack.compress(bytes(width + 1)) for _ in range(height)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path):
    """In a process of its own, whose memory is its own."""
    (tmp_path / "bomb.png").write_bytes(png(12_000, 12_000))
    script = """
import resource, sys
from fairjax.datasets.readers.images import ImageFiles
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ImageFiles(sys.argv[1])("bomb.png")
except Exception as error:
    print(type(error).__name__)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    name, kib = done.stdout.split()
    assert name in ("ValueError", "DecompressionBombError")
    assert int(kib) < 50 * 1024


@pytest.mark.parametrize("cut", [0, 10, 100, -200])
def test_truncated_pictures_are_refused(tmp_path, read, cut):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg", "a.tiff"):
        write_image(tmp_path / name, noise)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:cut])
        with pytest.raises((OSError, ValueError, SyntaxError)):
            read(name)


def test_formats_that_run_programs_are_not_opened(tmp_path, read):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n")
    with pytest.raises(OSError, match="cannot identify"):
        read("a.png")


def test_dicom_is_rescaled_and_shown_through_its_window_or_the_datasets(tmp_path):
    write_dicom(
        tmp_path / "a.dcm",
        RAMP,
        RescaleSlope=2,
        RescaleIntercept=-10,
        WindowCenter=0,
        WindowWidth=20,
    )
    write_dicom(
        tmp_path / "many.dcm",
        RAMP,
        RescaleSlope=2,
        RescaleIntercept=-10,
        WindowCenter=[0, 99],
        WindowWidth=[20, 1],
    )
    write_dicom(tmp_path / "plain.dcm", RAMP)
    units = RAMP * 2.0 - 10
    expected = np.rint(np.clip((units + 10) / 20, 0, 1) * 255)
    for name in ("a.dcm", "many.dcm"):
        np.testing.assert_array_equal(ImageFiles(str(tmp_path))(name)[..., 2], expected, name)
    np.testing.assert_array_equal(
        ImageFiles(str(tmp_path))("plain.dcm")[..., 0], np.rint(RAMP * (255 / 23))
    )
    wide = ImageFiles(str(tmp_path), (-10.0, 40.0))("a.dcm")[..., 0]
    np.testing.assert_array_equal(wide, np.rint(np.clip((units + 10) / 50, 0, 1) * 255))


def test_monochrome1_is_turned_about(tmp_path, read):
    write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    write_dicom(tmp_path / "b.dcm", RAMP)
    np.testing.assert_array_equal(read("a.dcm"), 255 - read("b.dcm"))


def test_frames_are_named(tmp_path, read):
    write_dicom(tmp_path / "a.dcm", np.stack([RAMP, RAMP[::-1]]))
    np.testing.assert_array_equal(read("a.dcm#1"), read("a.dcm#0")[::-1])
    with pytest.raises(ValueError, match=r"has 2 frames; name one as a\.dcm#0"):
        read("a.dcm")
    with pytest.raises(ValueError, match="no frame 2"):
        read("a.dcm#2")


def test_colours_in_dicom(tmp_path, read):
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = dicom(RAMP, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelData = 8, 8, 7, colours.tobytes()
    file.save_as(tmp_path / "rgb.dcm")
    np.testing.assert_array_equal(read("rgb.dcm"), colours)
    palette = dicom(RAMP.astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    palette.BitsAllocated, palette.BitsStored, palette.HighBit, palette.PixelData = (
        8,
        8,
        7,
        RAMP.astype(np.uint8).tobytes(),
    )
    for colour, shift in (("Red", 0), ("Green", 1), ("Blue", 2)):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(
            palette,
            f"{colour}PaletteColorLookupTableData",
            np.roll(np.arange(256, dtype=np.uint8), -shift).tobytes(),
        )
    palette.save_as(tmp_path / "palette.dcm")
    np.testing.assert_array_equal(read("palette.dcm")[1, 2], [8, 9, 10])


def test_transfer_syntaxes_that_pydicom_decodes(tmp_path, read):
    write_dicom(tmp_path / "plain.dcm", RAMP)
    expected = read("plain.dcm")
    for name, syntax in (
        ("rle", RLELossless),
        ("deflated", DeflatedExplicitVRLittleEndian),
        ("big", ExplicitVRBigEndian),
    ):
        file = dicom(RAMP)
        if syntax is RLELossless:
            file.compress(syntax)
        else:
            file.file_meta.TransferSyntaxUID = syntax
            file.PixelData = RAMP.astype(
                ">u2" if syntax is ExplicitVRBigEndian else "<u2"
            ).tobytes()
        pydicom.dcmwrite(
            tmp_path / f"{name}.dcm",
            file,
            little_endian=syntax is not ExplicitVRBigEndian,
            implicit_vr=False,
        )
        np.testing.assert_array_equal(read(f"{name}.dcm"), expected, name)
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8) * 10).save(buffer, "JPEG", quality=100)
    jpeg = dicom(RAMP, WindowCenter=127.5, WindowWidth=255)
    jpeg.BitsAllocated, jpeg.BitsStored, jpeg.HighBit = 8, 8, 7
    jpeg.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    jpeg.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    jpeg["PixelData"].is_undefined_length = True
    jpeg.save_as(tmp_path / "jpeg.dcm")
    np.testing.assert_allclose(read("jpeg.dcm")[..., 0], RAMP * 10.0, atol=3)


@pytest.mark.parametrize("cut", [0, 200, 400, -1, -40])
def test_truncated_dicom_is_refused(tmp_path, read, cut):
    write_dicom(tmp_path / "a.dcm", RAMP)
    data = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:cut])
    with pytest.raises((OSError, ValueError)):
        read("a.dcm")


def test_dicom_without_pixels_or_with_more_than_is_read_is_refused(tmp_path, read):
    write_dicom(tmp_path / "huge.dcm", RAMP, Rows=60_000, Columns=60_000)
    with pytest.raises(ValueError, match="3600000000 values, where 1 to"):
        read("huge.dcm")
    file = dicom(RAMP)
    del file.Rows
    file.save_as(tmp_path / "none.dcm")
    with pytest.raises(ValueError, match="holds no image"):
        read("none.dcm")
    bomb = dicom(RAMP)
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.PixelData = bytes(2**27)
    bomb.save_as(tmp_path / "deflated.dcm")
    noise = np.random.default_rng(0).integers(0, 256, 2**20, dtype=np.uint8).tobytes()
    (tmp_path / "deflated.dcm").write_bytes((tmp_path / "deflated.dcm").read_bytes() + noise)
    with pytest.raises(ValueError, match="could become more than is read"):
        read("deflated.dcm")


def test_a_series_is_ordered_by_position_and_not_by_name(tmp_path):
    hounsfield = np.arange(3 * 4 * 6).reshape(3, 4, 6) - 1000
    write_series(tmp_path / "s", hounsfield, (2.5, 0.7, 0.6))
    values, affine = read_series(str(tmp_path / "s"))
    np.testing.assert_array_equal(values, hounsfield.transpose(2, 1, 0))
    np.testing.assert_allclose(affine, np.diag([-0.6, -0.7, 2.5, 1]))


def test_series_that_are_none_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no DICOM files"):
        read_series(str(tmp_path / "empty"))
    write_series(tmp_path / "two", np.zeros((2, 4, 6), int))
    write_dicom(tmp_path / "two" / "other.dcm", RAMP, SeriesInstanceUID="1.2.3")
    with pytest.raises(ValueError, match="holds 2 series"):
        read_series(str(tmp_path / "two"))
    for i in range(2):
        write_dicom(tmp_path / "nowhere" / f"{i}.dcm", RAMP, SeriesInstanceUID="1.2.3")
    with pytest.raises(ValueError, match="neither their position nor their number"):
        read_series(str(tmp_path / "nowhere"))
    for i in range(2):
        write_dicom(
            tmp_path / "numbered" / f"{i}.dcm",
            RAMP + i,
            SeriesInstanceUID="1.2.3",
            InstanceNumber=2 - i,
        )
    assert read_series(str(tmp_path / "numbered"))[0][0, 0].tolist() == [1, 0]


def test_links_in_a_series_are_not_followed(tmp_path):
    write_series(tmp_path / "root" / "s", np.zeros((2, 4, 6), int))
    write_dicom(tmp_path / "secret.dcm", RAMP)
    (tmp_path / "root" / "s" / "x.dcm").symlink_to(tmp_path / "secret.dcm")
    assert read_series(str(tmp_path / "root" / "s"))[0].shape == (6, 4, 2)
