"""Masks in files of any kind: images, arrays, volumes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from fairjax.datasets.files import inside
from fairjax.datasets.readers.arrays import member_names, read_member, read_npy
from fairjax.datasets.readers.images import read_mask_image
from fairjax.datasets.readers.volume_files import METAIMAGE, NIFTI, read_volume

IMAGES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".jpg", ".jpeg", ".webp")
VOLUMES = (*NIFTI, *METAIMAGE, ".dcm", ".dicom")


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """Reads masks below a folder: `reader("masks/a.npy")` → values (H, W).

    Attributes:
      root: the dataset's folder.
    """

    root: str

    def __call__(self, path: str) -> Shaped[np.ndarray, "*s"]:
        """Reads one file; raises as `read_mask` does."""
        return read_mask(inside(self.root, path), path)


def read_mask(path: str, where: str = "") -> Shaped[np.ndarray, "*s"]:
    """Reads the values of one mask: (h, w), or of a volume (d, h, w) in RAS orientation.

    Args:
      path: an image, a .npy or .npz file (its first array), a .nii, .nii.gz or .mha volume, or a
        DICOM file or folder.
      where: names it in messages; by default its path.

    Raises:
      OSError, ValueError: it is of another kind, damaged, too large, or in colours.
    """
    where, name = where or path, path.lower()
    if name.endswith(IMAGES):
        return read_mask_image(path, where)
    if name.endswith(".npy"):
        return np.squeeze(read_npy(path))
    if name.endswith(".npz"):
        return np.squeeze(read_member(path, member_names(path)[:1]))
    if name.endswith(VOLUMES) or Path(path).is_dir():
        return np.squeeze(read_volume(path).values)
    kinds = ", ".join((*IMAGES, ".npy", ".npz", *VOLUMES))
    raise ValueError(f"mask {where} is of no kind that can be read: give {kinds}")
