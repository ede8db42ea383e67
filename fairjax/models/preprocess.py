"""From pixels to a model's input, in numpy and PIL: loader processes import no jax."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from fairjax.models.interpolation import INTERPOLATIONS
from fairjax.utils.errors import UserError, lookup

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _shorter(height: int, width: int, size: int) -> tuple[int, int]:
    short = min(height, width)
    # torchvision truncates the longer side.
    return int(size * height / short), int(size * width / short)


def _longest(height: int, width: int, size: int) -> tuple[int, int]:
    scale = size / max(height, width)
    # segment_anything's ResizeLongestSide.
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _squash(height: int, width: int, size: int) -> tuple[int, int]:
    return size, size


RESIZES = {"shorter": _shorter, "longest": _longest, "squash": _squash, "pad": _squash}


def _padded(image: Image.Image, side: int) -> Image.Image:
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _from_array(image: np.ndarray) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            f"preprocessing takes uint8 images (H, W, 3), not {image.dtype} {image.shape}"
        )
    return Image.fromarray(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocess:
    """A model's own preprocessing: resize, centre crop, normalise, pad; picklable.

    Attributes:
      size: pixels per side of the square result.
      resize: "shorter" (the shorter side to size / crop_fraction, then a centre crop of `size`),
        "longest" (the longer side to `size`, then zeros on the right and at the bottom, after
        normalising), "squash" (both to `size`), or "pad" (black borders to a square of at least
        `size`, then that to `size`, as MedCLIP's feature extractor does).
      interpolation: a key of `INTERPOLATIONS`.
      crop_fraction: side of the centre crop, per shorter side of the resized image.
      scale: factor of the pixel values 0..255, before mean and std.
      mean: mean of each channel, which is subtracted.
      std: standard deviation of each channel, by which it is divided.
      grayscale: whether colours become ITU-R 601 luma, three times.
      stretch: whether the values of each resized image are stretched to [0, 1] (MedSAM).
      bgr: whether channels are blue, green, red (FairMedFM's segmentation).
    """

    size: int
    resize: str = "shorter"
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    grayscale: bool = False
    stretch: bool = False
    bgr: bool = False

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
        """Returns the resized (and cropped, not padded) image, (h, w, 3) in 0..255."""
        pil = image if isinstance(image, Image.Image) else _from_array(image)
        if self.grayscale:
            pil = pil.convert("L").convert("RGB")
        if self.resize == "pad":
            pil = _padded(pil, max(self.size, *pil.size))
        h, w = self.resized_shape(pil.height, pil.width)
        same = (h, w) == (pil.height, pil.width)
        pixels = np.asarray(pil) if same else INTERPOLATIONS[self.interpolation](pil, h, w)
        if self.resize == "shorter":  # the crop of torchvision's CenterCrop
            top, left = round((h - self.size) / 2), round((w - self.size) / 2)
            pixels = pixels[top : top + self.size, left : left + self.size]
        return pixels

    def __call__(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Maps an RGB image, uint8 (H, W, 3) or PIL, to the input, float32 (size, size, 3)."""
        resized = self.resized(image)[..., :: -1 if self.bgr else 1]
        h, w, c = resized.shape
        mean, std = (np.tile(np.asarray(values, np.float32), w) for values in (self.mean, self.std))
        # Whole rows at a time: three channels make no loop.
        rows = resized.reshape(h, w * c).astype(np.float32)
        if self.stretch:
            low, high = rows.min(), rows.max()
            rows = (rows - low) / max(high - low, np.float32(1e-8))
        rows *= np.float32(self.scale)
        rows -= mean
        rows /= std
        pixels = rows.reshape(h, w, c)
        if (h, w) == (self.size, self.size):
            return pixels
        return np.pad(pixels, [(0, self.size - h), (0, self.size - w), (0, 0)])


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
