"""Files of volumes (NIfTI, MetaImage, DICOM series) in RAS orientation, whole or by slices."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from fairjax.datasets.files import inside, split_fragment
from fairjax.datasets.masks import Masks
from fairjax.datasets.readers import dicom, optional
from fairjax.datasets.readers.pixels import (
    MAX_VALUES,
    Window,
    check_finite,
    check_size,
    spread,
    to_rgb,
    to_uint8,
)
from fairjax.datasets.volumes import AXES, Volume, resample, resampled_shape, slice_of

NIFTI, METAIMAGE = (".nii", ".nii.gz"), (".mha",)
HEADER = 2**16  # bytes of a MetaImage in which its header ends
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
HELD = 2  # volumes that a process keeps for their next slice


@dataclasses.dataclass(frozen=True)
class VolumeImages:
    """Reads volumes below a folder, and their slices as images: `reader("a.nii.gz#12")` → uint8 RGB
    (H, W, 3).

    Attributes:
      root: the dataset's folder.
      window: what becomes black and white, in the unit of the voxels (Hounsfield for CT); None:
        each volume from its 0.5th to its 99.5th percentile.
      axis: along which slices are counted.
      spacing: (d, h, w) in mm that volumes are resampled to; () leaves them as they are.
    """

    root: str
    window: Window | None = None
    axis: str = "axial"
    spacing: tuple[float, ...] = ()

    def volume(self, image: str) -> Volume:
        """Reads a whole volume: (d, h, w) float32 in RAS orientation.

        Raises:
          OSError, ValueError: it is damaged, too large, holds NaN, or lies outside the root.
        """
        volume = read_volume(inside(self.root, image))
        check_finite(volume.values, image)
        volume = Volume(volume.values.astype(np.float32, copy=False), volume.spacing)
        return resample(volume, self.spacing) if self.spacing else volume

    def shape(self, image: str) -> tuple[int, ...]:
        """Shape (d, h, w) of a volume, from its header alone; raises as `volume` does."""
        shape, spacing = volume_shape(inside(self.root, image))
        return resampled_shape(shape, spacing, self.spacing) if self.spacing else shape

    def pixel_spacing(self, image: str) -> tuple[float, float]:
        """Edges (y, x) in mm of the pixels of a volume's slices, from its header alone; raises as
        `volume` does.
        """
        path, _ = split_fragment(image)
        told = self.spacing or _RECENT_SPACING.get(
            self.root, path, lambda p: volume_shape(inside(self.root, p))[1]
        )
        y, x = (edge for number, edge in enumerate(told) if number != AXES[self.axis])
        return y, x

    def depth(self, image: str) -> int:
        """Number of slices of a volume, from its header alone; raises as `volume` does."""
        return self.shape(image)[AXES[self.axis]]

    def shown(self, image: str) -> UInt8[np.ndarray, "d h w"]:
        """A volume in 8 bits through the window."""
        values = self.volume(image).values
        return to_uint8(values, self.window or spread(values))

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w 3"]:
        """Reads one slice, as it is shown (`fairjax.datasets.volumes`); raises as `volume` does."""
        path, index = split_fragment(image)
        if index is None:
            raise ValueError(f"{image} is a volume; name a slice as {image}#0")
        return to_rgb(
            np.ascontiguousarray(slice_of(_RECENT.get(self, path, self.shown), index, self.axis)),
            image,
        )


@dataclasses.dataclass(frozen=True)
class VolumeMasks:
    """Reads masks kept as volumes: `reader("a.nii.gz")` → labels (d, h, w) in RAS orientation.

    Attributes:
      root: the dataset's folder.
      spacing: (d, h, w) in mm that volumes are resampled to, nearest neighbour; () leaves them as
        they are.
    """

    root: str
    spacing: tuple[float, ...] = ()

    def __call__(self, path: str) -> Shaped[np.ndarray, "d h w"]:
        """Reads one file; raises OSError or ValueError on one that is damaged, too large or not of
        whole numbers.
        """
        volume = read_volume(inside(self.root, path))
        if volume.values.dtype.kind == "f":
            check_finite(volume.values, path)
            whole = np.rint(volume.values)
            if not np.array_equal(whole, volume.values):
                raise ValueError(f"mask {path} holds fractions, not labels")
            volume = Volume(whole.astype(np.int32), volume.spacing)
        return (resample(volume, self.spacing, labels=True) if self.spacing else volume).values


@dataclasses.dataclass(frozen=True)
class SliceMasks(Masks):
    """The masks of slices: `masks("a.nii.gz#12")` → class codes (H, W), as the slice is shown.

    Attributes:
      axis: along which slices are counted.
    """

    axis: str = "axial"

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w"]:
        """Codes of one slice; raises as `Masks` does."""
        path, index = split_fragment(image)
        if index is None:
            return super().__call__(image)
        whole = _RECENT.get(
            (self.read, repr((self.values, self.threshold))), path, super().__call__
        )
        return np.ascontiguousarray(slice_of(whole, index, self.axis))

    def has(self, image: str) -> bool:
        """Whether the volume that a slice is of has a mask."""
        return split_fragment(image)[0] in self.files


def read_volume(path: str) -> Volume:
    """Reads a NIfTI (.nii, .nii.gz), MetaImage (.mha) or DICOM (folder or .dcm) volume in RAS
    orientation.

    Raises:
      OSError, ValueError: the file is damaged, too large, or of another kind.
    """
    values, affine = _kind(path)[0](path)
    orientations = _orientations()
    axes = orientations.io_orientation(affine)
    ras = orientations.apply_orientation(values, axes)
    return Volume(ras.transpose(2, 1, 0), _spacing(affine, axes))


def volume_shape(path: str) -> tuple[tuple[int, ...], tuple[float, float, float]]:
    """Shape (d, h, w) and spacing in mm of a volume in RAS orientation, from its header."""
    shape, affine = _kind(path)[1](path)
    axes = _orientations().io_orientation(affine)
    return _ras(shape, axes), _spacing(affine, axes)


def _ras(of_axes, axes: Float[np.ndarray, "3 2"]) -> tuple:
    """What belongs to the file's axes, in the order (S, A, R)."""
    ordered = dict(zip(axes[:, 0].astype(int), of_axes, strict=True))
    return tuple(ordered[axis] for axis in (2, 1, 0))


def _spacing(
    affine: Float[np.ndarray, "4 4"], axes: Float[np.ndarray, "3 2"]
) -> tuple[float, float, float]:
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not np.isfinite(edges).all() or edges.min() <= 0 or np.isnan(axes).any():
        raise ValueError(
            f"the volume tells no orientation or spacing: its affine is {affine.tolist()}"
        )
    return _ras((float(edge) for edge in edges), axes)


def _orientations():
    return optional("nibabel.orientations", "nibabel", "a volume")


def _read_nifti(path: str) -> tuple[Shaped[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    image = _nifti(path)
    stored = image.dataobj
    as_stored = (stored.slope, stored.inter) == (1, 0)  # then labels stay whole numbers
    values = (
        np.asanyarray(stored)
        if as_stored
        else image.get_fdata(dtype=np.float32, caching="unchanged")
    )
    return np.asarray(values.reshape(image.shape[:3])), image.affine


def _nifti_shape(path: str) -> tuple[tuple[int, ...], Float[np.ndarray, "4 4"]]:
    image = _nifti(path)
    return image.shape[:3], image.affine


def _nifti(path: str):
    """A NIfTI file of which only the header is read, and which is no larger than may be."""
    nibabel = optional("nibabel", "nibabel", "a NIfTI file")
    try:
        image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise ValueError(f"{path} is no NIfTI file, or is damaged ({error})") from None
    if len(image.shape) < 3 or any(size != 1 for size in image.shape[3:]):
        raise ValueError(f"{path} has shape {image.shape}, which is no volume")
    check_size(image.shape, path, MAX_VALUES)
    return image


def _read_metaimage(path: str) -> tuple[Shaped[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    sitk, reader = _metaimage(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be decoded ({str(error).splitlines()[-1]})") from None
    return sitk.GetArrayFromImage(image).T, _metaimage_affine(reader)


def _metaimage_shape(path: str) -> tuple[tuple[int, ...], Float[np.ndarray, "4 4"]]:
    reader = _metaimage(path)[1]
    return reader.GetSize(), _metaimage_affine(reader)


def _metaimage(path: str):
    """A MetaImage of which the header is read, whose voxels are in the same file and no more than
    may be.
    """
    sitk = optional("SimpleITK", "SimpleITK", "a MetaImage file")
    with open(path, "rb") as file:
        lines = file.read(HEADER).split(b"ElementDataFile")
    if len(lines) < 2 or lines[1].split(b"\n")[0].strip(b" =\r") != b"LOCAL":
        raise ValueError(f"{path} is no MetaImage with its voxels in the same file")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(
            f"{path} is no MetaImage, or is damaged ({str(error).splitlines()[-1]})"
        ) from None
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{path} has {reader.GetDimension()} dimensions, which is no volume")
    check_size(reader.GetSize(), path, MAX_VALUES)
    return sitk, reader


def _metaimage_affine(reader) -> Float[np.ndarray, "4 4"]:
    affine = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (3, 3))
    affine[:3, :3] = LPS_TO_RAS[:, None] * direction * np.asarray(reader.GetSpacing())
    affine[:3, 3] = LPS_TO_RAS * reader.GetOrigin()
    return affine


def _kind(path: str) -> tuple[Callable, Callable]:
    """How to read a volume, and how to read its shape."""
    name = path.lower()
    if os.path.isdir(path) or name.endswith((".dcm", ".dicom")):
        return dicom.read_series, dicom.series_shape
    if name.endswith(NIFTI):
        return _read_nifti, _nifti_shape
    if name.endswith(METAIMAGE):
        return _read_metaimage, _metaimage_shape
    raise ValueError(
        f"{path} is no volume that can be read: give .nii, .nii.gz, .mha, or a folder of .dcm"
    )


class _Recent:
    """The volumes read last: slices are asked for in order, and each would else be read as often as
    it has slices.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.held: collections.OrderedDict = collections.OrderedDict()

    def get(self, owner, path: str, read: Callable[[str], Any]) -> Any:
        with self.lock:
            key = (owner, path)
            if key not in self.held:
                while len(self.held) >= 2 * HELD:  # as many images as masks
                    self.held.popitem(last=False)
                self.held[key] = read(path)
            self.held.move_to_end(key)
            return self.held[key]


_RECENT, _RECENT_SPACING = _Recent(), _Recent()
