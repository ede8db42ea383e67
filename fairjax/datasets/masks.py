"""True and predicted segmentations: from the values in a file to foreground or class codes.

What is neither two-valued nor declared is refused: a soft mask is cut only where a threshold is
told, and codes of several classes are never taken for one foreground.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

NONZERO: tuple[int, ...] = ()  # as a class's values: the one value besides 0
OPAQUE = {2: 1, 4: 3}  # channels → which of them is opacity


def image_values(image: Image.Image, where: str) -> Shaped[np.ndarray, "h w"]:
    """Returns the values of a mask that is kept as an image.

    A palette's numbers are its values, unless its number 0 is not the background: then, of two
    colours, black is.

    Args:
      image: the decoded image.
      where: names the mask in messages.

    Raises:
      ValueError: it is in colours that are no values.
    """
    values = np.asarray(image)
    if image.mode == "1":  # Pillow's booleans are bytes of 0 and 255
        return values.view(np.uint8) != 0
    if image.mode != "P":
        return channel_values(values, where)
    used = np.unique(values)
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    if len(palette) <= used.max():
        return values
    colours = palette[used]
    black = ~colours.any(axis=1)
    if len(used) < 2 or not black.any() or (used[black] == 0).any():
        return values
    if len(used) > 2:
        raise ValueError(f"mask {where}: number 0 of its palette is not black, but another one is")
    return values != used[black][0]


def channel_values(values: Shaped[np.ndarray, "*s"], where: str) -> Shaped[np.ndarray, "h w"]:
    """Returns one value per pixel of an array (h, w) or (h, w, channels).

    Channels that say the same count once, and so does one that varies alone; an image of two
    colours, of which black or transparent is the background, is two-valued.

    Args:
      values: grey, grey with opacity, RGB or RGBA.
      where: names the mask in messages.

    Raises:
      ValueError: it is in colours that are no values.
    """
    if values.ndim < 3:
        return values
    channels = values.reshape(-1, values.shape[-1])
    low, high = channels.min(axis=0), channels.max(axis=0)
    alpha = OPAQUE.get(values.shape[-1], -1)
    colours = [i for i in range(values.shape[-1]) if i != alpha]
    varying = [i for i in colours if low[i] != high[i]]
    if alpha >= 0 and low[alpha] != high[alpha]:
        if not varying:
            return values[..., alpha]
        values = np.where(values[..., [alpha]] > 0, values, 0)  # what is transparent is background
    if not varying:
        return values[..., colours].max(axis=-1)
    constant = [i for i in colours if i not in varying]
    first = values[..., varying[0]]
    alike = all(np.array_equal(first, values[..., i]) for i in varying[1:])
    if alike and not high[constant].any():
        return first
    found = np.unique(values[..., colours].reshape(-1, len(colours)), axis=0)
    if len(found) == 2 and not found[0].any():
        return np.asarray(values[..., colours].any(axis=-1))
    raise ValueError(f"mask {where} is in colours, not in values of classes")


def foreground(
    values: Shaped[np.ndarray, "*s"], where: str, threshold: float | None = None
) -> Bool[np.ndarray, "*s"]:
    """Returns which pixels are foreground, in a mask of one class.

    Args:
      values: booleans, 0 and one other value, or a soft mask.
      where: names the mask in messages.
      threshold: cuts a soft mask: probabilities p ≥ threshold, or the same part of the range of
        whole numbers (0.5 of 8 bits is 127.5).

    Raises:
      ValueError: the mask is neither two-valued nor soft with a threshold.
    """
    if values.dtype == bool:
        return values
    found = _distinct(values)
    if np.isnan(found[-1:]).any():
        raise ValueError(f"{where} holds NaN")
    others = found[found != 0]
    if len(others) == 0 or (len(others) == 1 and float(others[0]).is_integer()):
        return np.not_equal(values, 0)
    low, high = found[0], found[-1]
    top = _top(values.dtype, high)
    if threshold is not None and low >= 0 and high <= top:
        return np.greater_equal(values, threshold * top)
    raise ValueError(
        f"{where} holds {len(found)} values from {low:g} to {high:g}: a soft mask is cut by a "
        "mask_threshold, as 0.5; of class codes say which one is the foreground (mask_label of an "
        "audit, mask_classes of a dataset)"
    )


def _top(dtype: np.dtype, high: float) -> float:
    """Returns what a pixel of a soft mask holds that is surely foreground."""
    if dtype.kind == "f":
        return 1.0
    return float(np.iinfo(np.uint8 if high <= 255 and dtype != np.uint16 else np.uint16).max)


def _distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, increasing; of 8 bits counted, which is faster than sorting."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)


@dataclasses.dataclass(frozen=True)
class Masks:
    """Reads the masks of a dataset: `masks(image)` → class codes in the shape of the image's
    pixels.

    Attributes:
      read: path of a mask file → its values.
      files: image → its mask files, in the order of `values`; an image without a mask is not in it.
      values: per file, class → the values that mean it there, or `NONZERO`.
      threshold: cuts soft masks of one class; None: they are refused.
    """

    read: Callable[[str], Shaped[np.ndarray, "*shape"]]
    files: Mapping[str, tuple[str, ...]]
    values: tuple[Mapping[str, tuple[int, ...]], ...]
    threshold: float | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: code k is `classes[k - 1]`."""
        return tuple(name for classes in self.values for name in classes)

    def has(self, image: str) -> bool:
        """Whether an image has a mask."""
        return image in self.files

    def __call__(self, image: str) -> UInt8[np.ndarray, "*shape"]:
        """Returns codes of the classes, 0 for background; where two files overlap, the later one
        counts.

        Raises:
          OSError: the image has no mask, or a file cannot be read.
          ValueError: a file holds a value that no class names, or two files differ in shape.
        """
        if not self.has(image):
            raise FileNotFoundError(f"{image} has no mask")
        parts = [self.read(path) for path in self.files[image]]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"the masks of {image} have shapes {', '.join(str(part.shape) for part in parts)}"
            )
        codes, code = np.zeros(parts[0].shape, np.uint8), 0
        for path, part, classes in zip(self.files[image], parts, self.values, strict=True):
            known = part == 0
            for values in classes.values():
                code += 1
                inside = (
                    np.isin(part, values)
                    if values
                    else foreground(part, f"mask {path}", self.threshold)
                )
                codes[inside] = code
                known |= inside | (not values)
            if not known.all():
                raise ValueError(
                    f"mask {path} holds {np.unique(part[~known])[:5].tolist()}, which no class "
                    "names"
                )
        return codes
