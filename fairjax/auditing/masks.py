"""From predicted and true masks to the metrics of each case, one case in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from fairjax.datasets import masks
from fairjax.datasets.readers.mask_files import read_mask
from fairjax.datasets.values import to_numpy
from fairjax.metrics.overlap import MEASURES
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.progress import bar

_BUCKET = 32  # voxels: shapes are padded to multiples, so that few of them are compiled
PROBABILITY = 0.5  # at which predicted probabilities are cut
_MANY = 64  # cases, from which on a bar is shown


def measure(
    pred_masks: Any,
    true_masks: Any,
    metrics: Sequence[str] = ("dice", "iou"),
    *,
    label: int | None = None,
    mask_threshold: float | None = None,
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
    empty: float = 1.0,
    progress: bool = False,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Measures how well predicted masks agree with true ones.

    Args:
      pred_masks: one predicted mask for each case, or its probabilities: an array (n, …), or a list
        of arrays or of paths (images, .npy, .npz; of volumes .nii, .nii.gz, .mha and DICOM, which
        are turned to RAS and read as slices, rows, columns).
      true_masks: the true masks in the same order and forms.
      metrics: names from `fairjax.metrics.overlap.MEASURES`.
      label: the value that is foreground; None: masks must be two-valued.
      mask_threshold: cuts soft masks: foreground is p ≥ threshold, of whole numbers the same part
        of their range. None: predicted probabilities are cut at 0.5, all other soft masks refused.
      spacing: edges of a voxel along each axis, in mm; None: 1, so that distances are in pixels.
      tolerance: tolerance of `nsd`, in the unit of `spacing`.
      empty: overlap where both masks are empty.
      progress: whether to show a bar, of many cases.

    Returns:
      Metric → (n,) float64; NaN where it is undefined.

    Raises:
      UserError: a mask cannot be read, is no mask, or has another shape than its partner.
    """
    for name in metrics:
        lookup("metric", name, MEASURES)
    pairs = _cases(pred_masks, "pred_masks"), _cases(true_masks, "true_masks")
    n = len(pairs[0])
    if len(pairs[1]) != n or not n:
        raise UserError(
            f"there are {n} predicted and {len(pairs[1])} true masks; give one of each for every "
            "case"
        )
    found = {name: np.full(n, np.nan) for name in metrics}
    with bar("measuring masks", "case", n, show=progress and n >= _MANY) as shown:
        for case, (pred, true) in enumerate(zip(*pairs, strict=True)):
            names = f"predicted mask {_name(pred, case)}", f"true mask {_name(true, case)}"
            a = foreground(pred, names[0], label, mask_threshold, predicted=True)
            b = foreground(true, names[1], label, mask_threshold)
            if a.shape != b.shape:
                raise UserError(
                    f"case {_name(pred, case)}: the predicted mask is {a.shape}, the true one "
                    f"{b.shape}"
                )
            step = np.ones(a.ndim) if spacing is None else np.asarray(spacing, float)
            if step.shape != (a.ndim,) or (step <= 0).any():
                raise UserError(
                    f"spacing must be {a.ndim} positive numbers, one for each axis, not {spacing}"
                )
            values = _measure(
                *_cropped(a, b), step.astype(np.float32), tolerance, empty, tuple(metrics)
            )
            for name, value in zip(metrics, values, strict=True):
                found[name][case] = float(value)
            shown.update(1)
    return found


@partial(jax.jit, static_argnames="metrics")
def _measure(pred, true, spacing, tolerance, empty, metrics: tuple[str, ...]) -> list[jax.Array]:
    return [MEASURES[name].of(pred, true, spacing, tolerance, empty) for name in metrics]


def foreground(
    mask: Any,
    where: str,
    label: int | None = None,
    threshold: float | None = None,
    *,
    predicted: bool = False,
) -> Bool[np.ndarray, "*s"]:
    """Returns which pixels of a mask are foreground.

    Args:
      mask: an array, a tensor or a path.
      where: names the mask in messages.
      label: the value that is foreground; None: that of a mask of two values.
      threshold: cuts soft masks; None: they are refused.
      predicted: whether probabilities are cut at 0.5 where no threshold is given.

    Raises:
      UserError: it cannot be read, or it is neither two-valued nor declared.
    """
    if not isinstance(mask, str | Path):
        values = np.squeeze(to_numpy(mask, where))
    else:
        if not Path(mask).exists():
            raise UserError(f"there is no {where}")
        try:
            values = read_mask(str(mask))
        except UserError:
            raise
        except Exception as error:  # each library has its own for a damaged file
            raise UserError(f"{where} cannot be read ({error}); is it damaged?") from None
    if label is not None:
        return values == label
    if predicted and threshold is None and values.dtype.kind == "f":
        threshold = PROBABILITY
    try:
        return masks.foreground(values, where, threshold)
    except ValueError as error:
        raise UserError(str(error)) from None


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
