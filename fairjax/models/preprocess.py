"""From an image file's pixels to a model's input, in numpy and PIL alone: loader processes never
import jax.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from fairjax.models.interpolation import INTERPOLATIONS
from fairjax.utils.errors import UserError, lookup

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _shorter(height: int, width: int, size: int) -> tuple[int, int]:
    short = min(height, width)
    return int(size * height / short), int(
        size * width / short
    )  # torchvision truncates the longer side


def _longest(height: int, width: int, size: int) -> tuple[int, int]:
    scale = size / max(height, width)
    return int(height * scale + 0.5), int(
        width * scale + 0.5
    )  # segment_anything's ResizeLongestSide


def _squash(height: int, width: int, size: int) -> tuple[int, int]:
    return size, size


RESIZES = {"shorter": _shorter, "longest": _longest, "squash": _squash, "pad": _squash}


def _padded(picture: Image.Image, side: int) -> Image.Image:
    square = Image.new("RGB", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _picture(image: np.ndarray) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            f"preprocessing takes uint8 images (H, W, 3), not {image.dtype} {image.shape}"
        )
    return Image.fromarray(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocess:
    """A model's own preprocessing: resize, centre crop, normalise, pad; instances are callable and
    picklable.

    `resize` is "shorter" (the shorter side to size / crop_fraction, then a centre crop of `size`),
    "longest" (the longer side to `size`, then zeros on the right and at the bottom, after
    normalising), "squash" (both to `size`), or "pad" (black borders to a square of at least `size`,
    then that to `size`, as MedCLIP's feature extractor does).
    """

    size: int  # pixels per side of the square result
    resize: str = "shorter"
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    scale: float = 1 / 255  # of the pixel values 0..255, before mean and std
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    grayscale: bool = False  # colours -> ITU-R 601 luma, three times
    stretch: bool = (
        False  # whether the values of each resized image are stretched to [0, 1] (MedSAM)
    )
    bgr: bool = False  # whether channels are blue, green, red (FairMedFM's segmentation)

    def __post_init__(self):
        lookup("resize rule", self.resize, RESIZES)
        lookup("interpolation", self.interpolation, INTERPOLATIONS)

    def replace(self, **changes) -> Preprocess:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image after resizing, before it is cropped or padded."""
        target = round(self.size / self.crop_fraction) if self.resize == "shorter" else self.size
        return RESIZES[self.resize](height, width, target)

    def resized(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """The resized (and cropped, not padded) image: uint8 (H, W, 3), or a picture in RGB -> (h,
        w, 3) in 0..255.
        """
        picture = image if isinstance(image, Image.Image) else _picture(image)
        if self.grayscale:
            picture = picture.convert("L").convert("RGB")
        if self.resize == "pad":
            picture = _padded(picture, max(self.size, *picture.size))
        h, w = self.resized_shape(picture.height, picture.width)
        same = (h, w) == (picture.height, picture.width)
        image = np.asarray(picture) if same else INTERPOLATIONS[self.interpolation](picture, h, w)
        if self.resize == "shorter":
            top, left = (
                round((h - self.size) / 2),
                round((w - self.size) / 2),
            )  # as torchvision's CenterCrop
            image = image[top : top + self.size, left : left + self.size]
        return image

    def __call__(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Maps an RGB image, uint8 (H, W, 3) or a picture, to the model's input, float32 (size,
        size, 3).
        """
        resized = self.resized(image)[..., :: -1 if self.bgr else 1]
        h, w, c = resized.shape
        mean, std = (np.tile(np.asarray(values, np.float32), w) for values in (self.mean, self.std))
        rows = resized.reshape(h, w * c).astype(
            np.float32
        )  # whole rows at a time: three channels make no loop
        if self.stretch:
            low, high = rows.min(), rows.max()
            rows = (rows - low) / max(high - low, np.float32(1e-8))
        rows *= np.float32(self.scale)
        rows -= mean
        rows /= std
        padding = [(0, self.size - h), (0, self.size - w), (0, 0)]
        return (
            np.pad(rows.reshape(h, w, c), padding)
            if (h, w) != (self.size, self.size)
            else rows.reshape(h, w, c)
        )


FAIRMEDFM = Preprocess(size=224, mean=CLIP_MEAN, std=CLIP_STD)


def compat(grey: tuple[float, float] | None) -> Preprocess:
    """FairMedFM's preprocessing, the same for every model: shorter side to 224, centre crop.

    Args:
      grey: mean and standard deviation by which it normalises a dataset of grey images; None for
        all others, which it normalises as CLIP does.

    Returns:
      The preprocessing of `get_transform` in FairMedFM's datasets/utils.py (Jin et al. 2024).
    """
    if grey is None:
        return FAIRMEDFM
    mean, std = grey
    return FAIRMEDFM.replace(mean=(mean,) * 3, std=(std,) * 3)
