"""Volumes: voxels in one orientation with their spacing, resampled, cut into slices, and scores of
slices pooled.

Orientation: RAS, stored (d, h, w): d runs from the feet to the head (S), h to the front (A), w to
the right (R). Slices are shown as radiologists look at them: axial and coronal ones with the
patient's right on the left of the image, the front (axial) or the head on top; sagittal ones with
the front on the left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from fairjax.utils.errors import UserError, lookup

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis of (d, h, w) that counts the slices


@dataclasses.dataclass(frozen=True)
class Volume:
    """Voxels in RAS orientation.

    Attributes:
      values: (d, h, w); Hounsfield units for CT, the scanner's own for MRI, labels for a mask.
      spacing: edges of a voxel along d, h, w, in mm.
    """

    values: Shaped[np.ndarray, "d h w"]
    spacing: tuple[float, float, float]


def resample(volume: Volume, spacing: Sequence[float], *, labels: bool = False) -> Volume:
    """The same body at another spacing; voxels' edges, not their middles, stay where they are.

    Args:
      volume: what to resample.
      spacing: edges of the new voxels along d, h, w, in mm; the size is rounded to whole voxels.
      labels: nearest neighbour, so that no label is made up between two others; else linear.

    Raises:
      UserError: not three positive numbers.
    """
    target = check_spacing(spacing)
    shape = resampled_shape(volume.values.shape, volume.spacing, target)
    if shape == volume.values.shape:
        return Volume(volume.values, target)
    from scipy import ndimage

    zoom = [new / old for new, old in zip(shape, volume.values.shape)]
    values = volume.values if labels else volume.values.astype(np.float32, copy=False)
    done = ndimage.zoom(values, zoom, order=0 if labels else 1, mode="nearest", grid_mode=True)
    return Volume(done, target)


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, ...]:
    """Shape of a volume after `resample`."""
    return tuple(
        max(round(n * old / new), 1) for n, old, new in zip(shape, spacing, target, strict=True)
    )


def check_spacing(spacing: Sequence[float]) -> tuple[float, float, float]:
    """Three edges in mm; a `UserError` if they are not."""
    if len(spacing) != 3 or not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise UserError(
            "spacing must be three positive numbers in mm (slices, rows, columns), not "
            f"{tuple(spacing)}"
        )
    d, h, w = (float(edge) for edge in spacing)
    return d, h, w


def slice_of(
    values: Shaped[np.ndarray, "d h w"], index: int, axis: str = "axial"
) -> Shaped[np.ndarray, "r c"]:
    """One slice as it is shown: rows from top to bottom, columns from left to right.

    Raises:
      IndexError: there is no such slice.
    """
    number = AXES[axis]
    if not 0 <= index < values.shape[number]:
        raise IndexError(f"slice {index} of {values.shape[number]} along the {axis} axis")
    return np.flip(values.take(index, axis=number), axis=(0, 1))


def select(depth: int, count: int = 0, middle: float = 1.0) -> Int[np.ndarray, " k"]:
    """Chooses slices.

    Args:
      depth: how many there are.
      count: how many to take, evenly spaced; 0 takes all.
      middle: share of the depth to take them from, about its middle.

    Returns:
      Their indices, increasing.
    """
    n = max(round(depth * middle), 1)
    first = (depth - n) // 2
    if not 0 < count < n:
        return np.arange(first, first + n)
    return first + np.floor((np.arange(count) + 0.5) * n / count).astype(int)


def with_foreground(
    mask: Shaped[np.ndarray, "d h w"], axis: str = "axial", least: int = 1, label: int | None = None
) -> Int[np.ndarray, " k"]:
    """Indices of the slices in which at least `least` pixels are foreground (of one label, or of
    any).
    """
    inside = mask != 0 if label is None else mask == label
    others = tuple(number for number in range(3) if number != AXES[axis])
    return np.flatnonzero(inside.sum(axis=others) >= least)


class SliceBatch(NamedTuple):
    """Slices of one volume: numbers (b,), images (b, r, c), masks (b, r, c) or None, real (b,) and
    not padding.
    """

    number: Int[np.ndarray, " b"]
    image: Shaped[np.ndarray, "b r c"]
    mask: Shaped[np.ndarray, "b r c"] | None
    real: Bool[np.ndarray, " b"]


def slice_batches(
    values: Shaped[np.ndarray, "d h w"],
    index: Int[np.ndarray, " k"],
    batch_size: int,
    *,
    mask: Shaped[np.ndarray, "d h w"] | None = None,
    axis: str = "axial",
) -> Iterator[SliceBatch]:
    """Slices in batches of one shape; the last is filled up by repeating its last slice.

    Args:
      values: the volume.
      index: which slices, in which order.
      batch_size: slices per batch.
      mask: the true segmentation, in the volume's shape.
      axis: `axial`, `coronal` or `sagittal`.

    Raises:
      ValueError: the mask has another shape.
    """
    if mask is not None and mask.shape != values.shape:
        raise ValueError(f"the mask has shape {mask.shape}, the volume {values.shape}")
    for start in range(0, len(index), batch_size):
        part = index[start : start + batch_size]
        padded = np.pad(part, (0, batch_size - len(part)), mode="edge")
        image, truth = (
            None if array is None else np.stack([slice_of(array, int(i), axis) for i in padded])
            for array in (values, mask)
        )
        assert image is not None
        yield SliceBatch(padded, image, truth, np.arange(batch_size) < len(part))


def pool(
    scores: Float[np.ndarray, "r n"], volume: Int[np.ndarray, " n"], how: str = "max"
) -> Float[np.ndarray, "r v"]:
    """Scores of volumes from those of their slices.

    Args:
      scores: (r, n) probabilities of n slices by r runs.
      volume: (n,) codes 0 … v − 1 of the volume that each slice is of; every volume has a slice.
      how: `max`, the score of the slice with the highest positive probability (FairMedFM,
        arXiv:2407.00983), or `mean`.

    Raises:
      UserError: an unknown `how`.
    """
    reduce = lookup("way to pool slices", how, POOLS)
    order = np.argsort(volume, kind="stable")
    starts = np.flatnonzero(np.diff(volume[order], prepend=-1))
    return reduce(scores[:, order], starts).astype(scores.dtype)


def _mean(
    scores: Float[np.ndarray, "r n"], starts: Int[np.ndarray, " v"]
) -> Float[np.ndarray, "r v"]:
    counts = np.diff(starts, append=scores.shape[1])
    return np.add.reduceat(scores.astype(np.float64), starts, axis=1) / counts


POOLS = {"max": lambda scores, starts: np.maximum.reduceat(scores, starts, axis=1), "mean": _mean}
