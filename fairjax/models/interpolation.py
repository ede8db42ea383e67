"""Resizing of images as published, in numpy, PIL and scipy: loader processes import no jax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

# (image, height, width) -> (height, width, 3)
Interpolation = Callable[[Image.Image, int, int], np.ndarray]


def _pil(method: Image.Resampling) -> Interpolation:
    return lambda image, h, w: np.asarray(image.resize((w, h), method))


def _nearest_floor(image: Image.Image, h: int, w: int) -> np.ndarray:
    """The pixel at ⌊i · old / new⌋: OpenCV's INTER_NEAREST, which is not PIL's."""
    pixels = np.asarray(image)
    rows, columns = (
        np.floor(np.arange(new) * (old / new)).astype(int) for new, old in zip((h, w), pixels.shape)
    )
    return pixels[rows[:, None], columns]


def _bilinear_float(image: Image.Image, h: int, w: int) -> np.ndarray:
    """Bilinear with antialiasing, not rounded: torchvision's resize of a tensor."""
    planes = [
        plane.convert("F").resize((w, h), Image.Resampling.BILINEAR) for plane in image.split()
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _bilinear_plain(image: Image.Image, h: int, w: int) -> np.ndarray:
    """Bilinear without antialiasing, rounded: OpenCV's INTER_LINEAR."""
    from fairjax.models.sam.resize import linear_matrix

    rows, columns = linear_matrix(image.height, h), linear_matrix(image.width, w)
    return np.rint(
        np.einsum("Hh,hwc,Ww->HWc", rows, np.asarray(image), columns, optimize=True)
    ).astype(np.uint8)


def _cubic_spline(image: Image.Image, h: int, w: int) -> np.ndarray:
    """A cubic spline after a Gaussian: skimage's resize(order=3, anti_aliasing=True)."""
    from scipy import ndimage

    pixels = np.asarray(image)
    factors = np.array([image.height / h, image.width / w, 1.0])
    smooth = ndimage.gaussian_filter(
        pixels.astype(np.float64), np.maximum(0, (factors - 1) / 2), mode="mirror"
    )
    zoomed = ndimage.zoom(smooth, 1 / factors, order=3, mode="mirror", grid_mode=True)
    return np.clip(zoomed, pixels.min(), pixels.max()).astype(np.uint8)  # truncated, as MedSAM does


INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": _pil(Image.Resampling.NEAREST),
    "bilinear": _pil(Image.Resampling.BILINEAR),
    "bicubic": _pil(Image.Resampling.BICUBIC),
    "nearest_floor": _nearest_floor,
    "bilinear_float": _bilinear_float,
    "bilinear_plain": _bilinear_plain,
    "cubic_spline": _cubic_spline,
}
