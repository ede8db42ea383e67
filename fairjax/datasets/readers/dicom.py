"""DICOM files: one image, a multi-frame file, or a folder of slices, rescaled to their unit
(Hounsfield for CT).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from fairjax.datasets.readers import optional
from fairjax.datasets.readers.pixels import (
    MAX_VALUES,
    Window,
    check_finite,
    check_size,
    to_rgb,
    to_uint8,
)

DEFLATED = "1.2.840.10008.1.2.1.99"
MOST_INFLATED = 1032  # times its size, that a deflated stream can grow
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's patient axes to the neuroimaging ones
ENDINGS = (".dcm", ".dicom", ".ima", "")
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def read_image(path: str, frame: int | None, window: Window | None) -> UInt8[np.ndarray, "h w 3"]:
    """Reads one image.

    Args:
      path: the file.
      frame: which frame of a multi-frame file; None where it has one.
      window: in the unit after rescaling; None: the file's own, else the range of its values.

    Raises:
      OSError, ValueError: the file is damaged, truncated or too large, or has no such frame.
    """
    header = _header(path)
    values = _values(header, path)
    colours = (
        int(header.get("SamplesPerPixel", 1)) > 1
        or header.PhotometricInterpretation == "PALETTE COLOR"
    )
    frames = values if values.ndim > 2 + colours else values[None]
    if frame is None and len(frames) > 1:
        raise ValueError(f"{path} has {len(frames)} frames; name one as {Path(path).name}#0")
    if (frame or 0) >= len(frames):
        raise ValueError(f"{path} has {len(frames)} frames, no frame {frame}")
    values = frames[frame or 0]
    if colours:
        return to_rgb(to_uint8(values), path)
    grey = to_uint8(values, window or _window(header, values))
    return to_rgb(255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey, path)


def pixel_spacing(path: str) -> tuple[float, float] | None:
    """Edges (y, x) of the pixels in mm, in the patient or, of a projection, at the detector; None
    if not told.
    """
    header = _header(path, pixels=False)
    told = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    if not told:
        return None
    row_mm, column_mm = (float(value) for value in told)
    return (row_mm, column_mm) if min(row_mm, column_mm) > 0 else None


def read_series(path: str) -> tuple[Float[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """Reads a volume: a folder with the slices of one series, or a multi-frame file.

    Slices are ordered along their normal, or by their number where they tell no position; then they
    are taken for axial slices of a patient on the back, as their thickness and pixel spacing say.

    Args:
      path: the folder or file.

    Returns:
      The rescaled values, and the affine from voxels to RAS millimetres.

    Raises:
      OSError, ValueError: no slices, several series, slices of different shapes, or a damaged file.
    """
    paths = sorted(_files(path)) if os.path.isdir(path) else [path]
    if not paths:
        raise ValueError(f"{path} holds no DICOM files")
    headers = [_header(file) for file in paths]
    check_size((len(headers), *_shape(headers[0])), path, MAX_VALUES)
    series = {header.get("SeriesInstanceUID") for header in headers}
    if len(series) > 1:
        raise ValueError(f"{path} holds {len(series)} series; keep the files of one")
    order, affine = _geometry(headers, path)
    slices = [_values(headers[i], paths[i]).astype(np.float32) for i in order]
    if len({values.shape for values in slices}) > 1:
        raise ValueError(
            f"{path} holds slices of {len({values.shape for values in slices})} shapes"
        )
    zyx = np.concatenate([values if values.ndim == 3 else values[None] for values in slices])
    check_finite(zyx, path)
    return zyx.transpose(2, 1, 0), affine


def series_shape(path: str) -> tuple[tuple[int, int, int], Float[np.ndarray, "4 4"]]:
    """Shape (x, y, z) and affine of a volume, from its headers alone."""
    paths = sorted(_files(path)) if os.path.isdir(path) else [path]
    if not paths:
        raise ValueError(f"{path} holds no DICOM files")
    headers = [_header(file, pixels=False) for file in paths]
    frames, rows, columns, _ = _shape(headers[0])
    return (columns, rows, frames * len(headers)), _geometry(headers, path)[1]


def _files(folder: str) -> list[str]:
    """DICOM files of a folder (no ending will do); links are left out, as they may leave the
    dataset's folder.
    """
    with os.scandir(folder) as entries:
        return [
            entry.path
            for entry in entries
            if entry.is_file(follow_symlinks=False) and Path(entry.name.lower()).suffix in ENDINGS
        ]


def _header(path: str, pixels: bool = True) -> Any:
    """Reads a file's elements; nothing of the pixels is decoded, and nothing is inflated without a
    bound.
    """
    pydicom = optional("pydicom", "pydicom", "a DICOM file")
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        if (
            meta.get("TransferSyntaxUID") == DEFLATED
            and os.path.getsize(path) * MOST_INFLATED > MAX_VALUES
        ):
            raise ValueError(f"{path} is deflated, and could become more than is read")
        header = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError(f"{path} is no DICOM file ({error})") from None
    if "Rows" not in header or "Columns" not in header:
        raise ValueError(f"{path} holds no image")
    check_size(_shape(header), path, MAX_VALUES)
    return header


def _shape(header: Any) -> tuple[int, int, int, int]:
    """(frames, rows, columns, samples) as the header claims."""
    frames, samples = header.get("NumberOfFrames", 1) or 1, header.get("SamplesPerPixel", 1)
    return int(frames), int(header.Rows), int(header.Columns), int(samples)


def _values(header: Any, path: str) -> Shaped[np.ndarray, "*s"]:
    """Decoded values in their unit: rescaled by slope and intercept; colours in RGB."""
    pixels = optional("pydicom.pixels", "pydicom", "a DICOM file")
    try:
        values = header.pixel_array
        if header.PhotometricInterpretation == "PALETTE COLOR":
            return pixels.apply_color_lut(values, header)
        if int(header.get("SamplesPerPixel", 1)) > 1:
            return values
        return np.asarray(pixels.apply_modality_lut(values, header), np.float32)
    except (AttributeError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be decoded ({type(error).__name__}: {error})") from None


def _window(header: Any, values: Float[np.ndarray, "h w"]) -> Window:
    """The file's first window, else the range of its values."""
    center, width = (header.get(name) for name in ("WindowCenter", "WindowWidth"))
    center, width = (
        value[0] if hasattr(value, "__getitem__") and len(value) else value
        for value in (center, width)
    )
    if center is not None and width is not None and float(width) > 0:
        return float(center) - float(width) / 2, float(center) + float(width) / 2
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1


def _geometry(headers: list[Any], path: str) -> tuple[list[int], Float[np.ndarray, "4 4"]]:
    """The order of the slices along their normal, and the affine from (column, row, slice) to RAS
    millimetres.
    """
    first = headers[0]
    if not all(name in header for header in headers for name in GEOMETRY):
        return _by_number(headers, path)
    along_row, along_column = np.reshape(np.asarray(first.ImageOrientationPatient, float), (2, 3))
    normal = np.cross(along_row, along_column)
    positions = np.array([[float(v) for v in header.ImagePositionPatient] for header in headers])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable").tolist()
    steps = np.diff(heights[order])
    thickness = float(np.median(steps)) if len(steps) else _thickness(first)
    if thickness <= 0:
        raise ValueError(f"{path} holds several slices at one position; keep one series")
    row_mm, column_mm = (float(v) for v in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack(
        [along_row * column_mm, along_column * row_mm, normal * thickness], axis=1
    )
    affine[:3, 3] = positions[order[0]]
    return order, LPS_TO_RAS @ affine


def _by_number(headers: list[Any], path: str) -> tuple[list[int], Float[np.ndarray, "4 4"]]:
    numbers = [header.get("InstanceNumber") for header in headers]
    if len(headers) > 1 and (None in numbers or len(set(numbers)) < len(numbers)):
        raise ValueError(f"{path}: the slices tell neither their position nor their number")
    row_mm, column_mm = (float(v) for v in headers[0].get("PixelSpacing", (1, 1)))
    order = sorted(range(len(headers)), key=lambda i: int(numbers[i] or 0))
    return order, LPS_TO_RAS @ np.diag([column_mm, row_mm, _thickness(headers[0]), 1.0])


def _thickness(header: Any) -> float:
    return float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0)
