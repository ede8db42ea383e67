"""From the values in a file to 8-bit RGB, and what is too much to be read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt8

MAX_PIXELS = (
    2**27
)  # of one image: what a scanner or a whole-field camera makes, and not what fills the memory
MAX_VALUES = 2**29  # of one volume or array: 512 × 512 × 2,048
PERCENTILES = (0.5, 99.5)  # of a volume without units, that become black and white

Window = tuple[float, float]


def check_size(shape: Sequence[int], what: str, limit: int = MAX_PIXELS) -> None:
    """Refuses a shape that a header claims, before anything of it is decoded.

    Raises:
      ValueError: it has more than `limit` values, or none.
    """
    n = math.prod(int(size) for size in shape)
    if not 0 < n <= limit:
        raise ValueError(
            f"{what} has shape {tuple(map(int, shape))}: {n} values, where 1 to {limit} are read"
        )


def check_finite(values: Shaped[np.ndarray, "*s"], what: str) -> None:
    """Refuses NaN and infinite pixels.

    Raises:
      ValueError: says how many there are.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{what} holds {np.count_nonzero(~np.isfinite(values))} values that are no numbers"
        )


def to_uint8(
    values: Shaped[np.ndarray, "*s"], window: Window | None = None
) -> UInt8[np.ndarray, "*s"]:
    """Maps values linearly to 0 … 255.

    Args:
      values: uint8 values stay as they are without a window; bool and 16 bits fill the range.
      window: (low, high) in the values' unit (Hounsfield for CT), what becomes black and white; the
        rest is clipped.

    Raises:
      ValueError: NaN, or numbers whose range is not known.
    """
    check_finite(values, "the image")
    if window is None:
        if values.dtype == np.uint8:
            return values
        window = _full_range(values)
    low, high = window
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


def _full_range(values: Shaped[np.ndarray, "*s"]) -> Window:
    if values.dtype == bool:
        return 0, 1
    if values.dtype.kind == "u":
        return 0, float(np.iinfo(values.dtype).max)
    raise ValueError(
        f"values of type {values.dtype} have no range of their own; the dataset must tell a window"
    )


def spread(values: Float[np.ndarray, "*s"]) -> Window:
    """The window of values without a unit (MRI): from their 0.5th to their 99.5th percentile."""
    low, high = np.percentile(values, PERCENTILES)
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def to_rgb(image: UInt8[np.ndarray, "h w *c"], what: str) -> UInt8[np.ndarray, "h w 3"]:
    """Repeats grey over three channels, moves channels to the end, leaves out opacity.

    Raises:
      ValueError: the array is no image.
    """
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3, 4):
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(f"{what} has shape {image.shape}, which is no image")
    return np.repeat(image, 3, axis=-1) if image.shape[2] == 1 else image[..., :3]
