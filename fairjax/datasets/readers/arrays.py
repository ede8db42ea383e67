"""Images and masks kept as arrays: NPZ archives (one per image) and HDF5 files (one for all
frames).
"""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from fairjax.datasets.files import inside, split_fragment
from fairjax.datasets.readers import optional
from fairjax.datasets.readers.pixels import (
    MAX_VALUES,
    Window,
    check_finite,
    check_size,
    to_rgb,
    to_uint8,
)

NPY = ".npy"


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Reads images out of NPZ files: `reader("data_0001.npz")` → uint8 RGB (H, W, 3).

    Attributes:
      root: the dataset's folder.
      keys: names the array may have; the first that is there is taken.
      window: what becomes black and white, in the array's unit; None for 8 bits.
    """

    root: str
    keys: tuple[str, ...]
    window: Window | None = None

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w 3"]:
        """Reads one array; raises OSError or ValueError on a file that is damaged, too large or
        without it.
        """
        return to_rgb(
            to_uint8(read_member(inside(self.root, image), self.keys), self.window), image
        )


@dataclasses.dataclass(frozen=True)
class ArrayMasks:
    """Reads masks out of NPZ files: `reader("data_0001.npz")` → the array's values (H, W)."""

    root: str
    keys: tuple[str, ...]

    def __call__(self, path: str) -> Shaped[np.ndarray, "h w"]:
        """Reads one array; raises OSError or ValueError on a file that is damaged, too large or
        without it.
        """
        return np.squeeze(read_member(inside(self.root, path), self.keys))


@dataclasses.dataclass(frozen=True)
class Frames:
    """Reads frames out of an HDF5 file: `reader("dataset.hdf5#7")` → the values of frame 7."""

    root: str
    key: str

    def __call__(self, image: str) -> Shaped[np.ndarray, "h w"]:
        """Reads one frame; raises OSError or ValueError on a file that is damaged or has no such
        frame.
        """
        path, frame = split_fragment(image)
        data = hdf5_data(inside(self.root, path), self.key)
        if frame is None or frame >= len(data):
            raise ValueError(f"{image}: {path} has {len(data)} frames in {self.key!r}")
        check_size(data.shape[1:], image)
        return np.squeeze(data[frame])


@dataclasses.dataclass(frozen=True)
class FrameImages(Frames):
    """Reads frames of an HDF5 file as images: `reader("dataset.hdf5#7")` → uint8 RGB (H, W, 3)."""

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w 3"]:
        """Reads one frame; raises OSError or ValueError on a file that is damaged or has no such
        frame.
        """
        return to_rgb(to_uint8(super().__call__(image)), image)


def read_member(path: str, keys: Sequence[str]) -> Shaped[np.ndarray, "*s"]:
    """Reads the first of several arrays that an NPZ file has; its size is known before anything is
    inflated.

    Raises:
      OSError, ValueError: it has none of them, one is too large, damaged, NaN, or needs pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            name = next((key for key in keys if key + NPY in names), None)
            if name is None:
                raise ValueError(f"{path} has no array {' or '.join(map(repr, keys))}")
            with archive.open(name + NPY) as member:
                values = _read_npy(member, f"{path}[{name}]")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise ValueError(f"{path} is no NPZ file, or is damaged ({error})") from None
    check_finite(values, f"{path}[{name}]")
    return values


def _read_npy(member: Any, what: str) -> Shaped[np.ndarray, "*s"]:
    """Reads as many bytes as the array's own header claims, once that is known to fit."""
    version = np.lib.format.read_magic(member)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_header(member)
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects, which are never read")
    check_size((*shape, dtype.itemsize), what, 4 * MAX_VALUES)
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    data = member.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{what} is not as long as its header says")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return values.astype(dtype.newbyteorder("="), copy=False)


def read_npy(path: str) -> Shaped[np.ndarray, "*s"]:
    """Reads an NPY file; raises OSError or ValueError where it is damaged, too large, or needs
    pickle.
    """
    with open(path, "rb") as file:
        return _read_npy(file, path)


def member_names(path: str) -> list[str]:
    """Names of the arrays in an NPZ file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(NPY) for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no NPZ file, or is damaged ({error})") from None


def hdf5_data(path: str, key: str) -> Any:
    """An array of an HDF5 file, not yet read; it must lie in this very file.

    Raises:
      OSError, ValueError: the file is damaged, has no such array, or keeps it elsewhere.
    """
    h5py, file = optional("h5py", "h5py", "an HDF5 file"), _hdf5(path)
    if key not in file:
        raise ValueError(f"{path} has no array {key!r}; there are: {', '.join(file)}")
    data = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{path}: {key!r} is no array of this file itself")
    return data


@functools.lru_cache(4)
def _hdf5(path: str) -> Any:
    """An open file, one per process."""
    return optional("h5py", "h5py", "an HDF5 file").File(path, "r", locking=False)
