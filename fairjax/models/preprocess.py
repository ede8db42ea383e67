"""From an image file's pixels to a model's input, in numpy, PIL and scipy: loader processes never import jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from fairjax.errors import UserError, lookup


def _pil(method: Image.Resampling) -> Callable[[np.ndarray, int, int], np.ndarray]:
    return lambda image, h, w: np.asarray(Image.fromarray(image).resize((w, h), method))


def _nearest_floor(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """The pixel at ⌊i · old / new⌋: OpenCV's INTER_NEAREST, where PIL's NEAREST takes the one under the centre."""
    rows, columns = (np.floor(np.arange(new) * (old / new)).astype(int) for new, old in zip((h, w), image.shape))
    return image[rows[:, None], columns]


def _bilinear_float(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """Bilinear with antialiasing, not rounded: torchvision's resize of a tensor."""
    planes = [Image.fromarray(image[..., c].astype(np.float32), mode="F") for c in range(3)]
    return np.stack([np.asarray(plane.resize((w, h), Image.Resampling.BILINEAR)) for plane in planes], axis=-1)


def _cubic_spline(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """A cubic spline after a Gaussian of σ = (old / new − 1) / 2: skimage's resize(order=3, anti_aliasing=True)."""
    from scipy import ndimage

    factors = np.array([image.shape[0] / h, image.shape[1] / w, 1.0])
    smooth = ndimage.gaussian_filter(image.astype(np.float64), np.maximum(0, (factors - 1) / 2), mode="mirror")
    zoomed = ndimage.zoom(smooth, 1 / factors, order=3, mode="mirror", grid_mode=True)
    return np.clip(zoomed, image.min(), image.max()).astype(np.uint8)  # truncated, as MedSAM does


def _bilinear_plain(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """Bilinear without antialiasing, rounded: OpenCV's INTER_LINEAR."""
    from fairjax.models.sam.resize import linear_matrix

    rows, columns = linear_matrix(image.shape[0], h), linear_matrix(image.shape[1], w)
    return np.rint(np.einsum("Hh,hwc,Ww->HWc", rows, image, columns, optimize=True)).astype(np.uint8)


INTERPOLATIONS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "nearest": _pil(Image.Resampling.NEAREST),
    "bilinear": _pil(Image.Resampling.BILINEAR),
    "bicubic": _pil(Image.Resampling.BICUBIC),
    "nearest_floor": _nearest_floor,
    "bilinear_float": _bilinear_float,
    "bilinear_plain": _bilinear_plain,
    "cubic_spline": _cubic_spline,
}


def _shorter(height: int, width: int, size: int) -> tuple[int, int]:
    short = min(height, width)
    return int(size * height / short), int(size * width / short)  # torchvision truncates the longer side


def _longest(height: int, width: int, size: int) -> tuple[int, int]:
    scale = size / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)  # segment_anything's ResizeLongestSide


def _squash(height: int, width: int, size: int) -> tuple[int, int]:
    return size, size


RESIZES = {"shorter": _shorter, "longest": _longest, "squash": _squash}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocess:
    """A model's own preprocessing: resize, centre crop, normalise, pad; instances are callable and picklable.

    `resize` is "shorter" (the shorter side to size / crop_fraction, then a centre crop of `size`), "longest" (the
    longer side to `size`, then zeros on the right and at the bottom, after normalising), or "squash" (both to `size`).
    """

    size: int  # pixels per side of the square result
    resize: str = "shorter"
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    scale: float = 1 / 255  # of the pixel values 0..255, before mean and std
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    stretch: bool = False  # whether the values of each resized image are stretched to [0, 1] (MedSAM)
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

    def resized(self, image: np.ndarray) -> np.ndarray:
        """The resized (and cropped, not padded) image: uint8 (H, W, 3) -> (h, w, 3) of values 0..255."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"preprocessing takes uint8 images (H, W, 3), not {image.dtype} {image.shape}")
        h, w = self.resized_shape(*image.shape[:2])
        if (h, w) != image.shape[:2]:
            image = INTERPOLATIONS[self.interpolation](image, h, w)
        if self.resize == "shorter":
            top, left = round((h - self.size) / 2), round((w - self.size) / 2)  # as torchvision's CenterCrop
            image = image[top : top + self.size, left : left + self.size]
        return image

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Maps an RGB image, uint8 (H, W, 3), to the model's input, float32 (size, size, 3)."""
        resized = self.resized(image)[..., :: -1 if self.bgr else 1]
        h, w, _ = resized.shape
        pixels = np.zeros((self.size, self.size, 3), np.float32)
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        if self.stretch:
            low, high = float(resized.min()), float(resized.max())
            resized = (resized - low) / max(high - low, 1e-8)
        pixels[:h, :w] = (resized * np.float32(self.scale) - mean) / std
        return pixels
