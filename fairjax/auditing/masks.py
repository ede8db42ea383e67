"""From predicted and true masks to the measures of each case, one case in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from fairjax.auditing.arrays import to_numpy
from fairjax.metrics.overlap import MEASURES
from fairjax.utils import progress
from fairjax.utils.errors import UserError, lookup

_BUCKET = 32  # voxels: shapes are padded to multiples, so that few of them are compiled
_MANY = 64  # cases, from which on a bar is shown
_IMAGES = (".png", ".tif", ".tiff", ".bmp", ".gif")


def measure(
    pred_masks: Any,
    true_masks: Any,
    measures: Sequence[str] = ("dice", "iou"),
    *,
    label: int | None = None,
    mask_threshold: float = 0.5,
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
    empty: float = 1.0,
    show_progress: bool = False,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Measures how well predicted masks agree with true ones.

    Args:
      pred_masks, true_masks: One mask for each case, in the same order: an array (n, …), or a list
        of arrays or of paths (.npy, .npz, .png, .tif, .bmp, .gif; .nii with nibabel). Predicted
        ones may be probabilities.
      measures: Names from `fairjax.metrics.overlap.MEASURES`.
      label: The value that is foreground; None: every one but 0.
      mask_threshold: Of predicted probabilities: foreground is p ≥ threshold.
      spacing: Edges of a voxel along each axis, in mm; None: 1, so that distances are in pixels.
      tolerance: Of `nsd`, in the unit of `spacing`.
      empty: Overlap where both masks are empty.
      show_progress: Whether to show a bar, of many cases.

    Returns:
      Measure → (n,) float64; NaN where it is undefined.

    Raises:
      UserError: A mask cannot be read, is no mask, or has another shape than its partner.
    """
    for name in measures:
        lookup("measure", name, MEASURES)
    pairs = _cases(pred_masks, "pred_masks"), _cases(true_masks, "true_masks")
    n = len(pairs[0])
    if len(pairs[1]) != n or not n:
        raise UserError(
            f"there are {n} predicted and {len(pairs[1])} true masks; give one of each for every case"
        )
    found = {name: np.full(n, np.nan) for name in measures}
    with progress.bar("measuring masks", "case", n, show=show_progress and n >= _MANY) as bar:
        for case, (pred, true) in enumerate(zip(*pairs, strict=True)):
            a = foreground(pred, label, mask_threshold, f"predicted mask {_name(pred, case)}")
            b = foreground(true, label, None, f"true mask {_name(true, case)}")
            if a.shape != b.shape:
                raise UserError(
                    f"case {_name(pred, case)}: the predicted mask is {a.shape}, the true one {b.shape}"
                )
            step = np.ones(a.ndim) if spacing is None else np.asarray(spacing, float)
            if step.shape != (a.ndim,) or (step <= 0).any():
                raise UserError(
                    f"spacing must be {a.ndim} positive numbers, one for each axis, not {spacing}"
                )
            values = _measure(
                *_cropped(a, b), step.astype(np.float32), tolerance, empty, tuple(measures)
            )
            for name, value in zip(measures, values, strict=True):
                found[name][case] = float(value)
            bar.update(1)
    return found


@partial(jax.jit, static_argnames="measures")
def _measure(pred, true, spacing, tolerance, empty, measures: tuple[str, ...]) -> list[jax.Array]:
    return [MEASURES[name].of(pred, true, spacing, tolerance, empty) for name in measures]


def foreground(
    mask: Any, label: int | None, threshold: float | None, where: str
) -> Bool[np.ndarray, "*s"]:
    """The mask as booleans.

    Args:
      mask: An array, a tensor or a path.
      label: The value that is foreground; None: every one but 0.
      threshold: Of probabilities; None: the mask cannot hold any.
      where: Names the mask in messages.

    Raises:
      UserError: It cannot be read, or its numbers are neither labels nor probabilities.
    """
    array = read_mask(mask) if isinstance(mask, str | Path) else np.squeeze(to_numpy(mask, where))
    if label is not None:
        return array == label
    if array.dtype.kind != "f" or np.isin(array, (0, 1)).all():
        return array != 0
    if threshold is None or not (
        np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1
    ):
        kind = "labels" if threshold is None else "labels or probabilities in [0, 1]"
        raise UserError(
            f"{where} holds numbers from {np.min(array):g} to {np.max(array):g}, which are no {kind}"
        )
    return array >= threshold


def read_mask(path: str | Path) -> np.ndarray:
    """Reads one mask; of an image with several channels the first.

    Raises:
      UserError: There is no such file, it is of another kind, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no mask {path}")
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    try:
        if suffix == "npy":
            return np.squeeze(np.load(path, allow_pickle=False))
        if suffix == "npz":
            with np.load(path, allow_pickle=False) as arrays:
                return np.squeeze(arrays[arrays.files[0]])
        if f".{suffix}" in _IMAGES:
            with Image.open(path) as image:
                array = np.asarray(image)
            return array if array.ndim == 2 else array[..., 0]
        if suffix == "nii":
            return np.squeeze(np.asanyarray(_nibabel(path).load(path).dataobj))
    except UserError:
        raise
    except Exception as error:  # each library has its own for a damaged file
        raise UserError(
            f"mask {path} cannot be read ({type(error).__name__}); is it damaged?"
        ) from None
    raise UserError(f"mask {path}: give .npy, .npz, {', '.join(_IMAGES)} or .nii")


def _nibabel(path: Path):
    try:
        import nibabel
    except ImportError:
        raise UserError(f"mask {path}: NIfTI files need nibabel; pip install nibabel") from None
    return nibabel


def _cases(masks: Any, name: str) -> Any:
    if isinstance(masks, str | Path):
        raise UserError(f"{name} must be one mask for each case, not a single path")
    return (
        list(masks)
        if isinstance(masks, list | tuple) or hasattr(masks, "iloc")
        else to_numpy(masks, name)
    )


def _name(mask: Any, case: int) -> str:
    return str(mask) if isinstance(mask, str | Path) else str(case)


def _cropped(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks within the box that holds them, padded to a shape that many cases share."""
    places = np.nonzero(a | b)
    box = tuple(slice(of.min(), of.max() + 1) if of.size else slice(0, 1) for of in places)
    a, b = a[box], b[box]
    padding = [(0, -size % _BUCKET) for size in a.shape]
    return np.pad(a, padding), np.pad(b, padding)
