"""How published preprocessings resize pictures, in numpy, PIL and scipy: loader processes never
import jax.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

# (picture, height, width) -> (height, width, 3)
Interpolation = Callable[[Image.Image, int, int], np.ndarray]


def _pil(method: Image.Resampling) -> Interpolation:
    return lambda picture, h, w: np.asarray(picture.resize((w, h), method))


def _nearest_floor(picture: Image.Image, h: int, w: int) -> np.ndarray:
    """The pixel at ⌊i · old / new⌋: OpenCV's INTER_NEAREST, where PIL's NEAREST takes the one under
    the centre.
    """
    image = np.asarray(picture)
    rows, columns = (
        np.floor(np.arange(new) * (old / new)).astype(int) for new, old in zip((h, w), image.shape)
    )
    return image[rows[:, None], columns]


def _bilinear_float(picture: Image.Image, h: int, w: int) -> np.ndarray:
    """Bilinear with antialiasing, not rounded: torchvision's resize of a tensor."""
    planes = [
        plane.convert("F").resize((w, h), Image.Resampling.BILINEAR) for plane in picture.split()
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _bilinear_plain(picture: Image.Image, h: int, w: int) -> np.ndarray:
    """Bilinear without antialiasing, rounded: OpenCV's INTER_LINEAR."""
    from fairjax.models.sam.resize import linear_matrix

    rows, columns = linear_matrix(picture.height, h), linear_matrix(picture.width, w)
    return np.rint(
        np.einsum("Hh,hwc,Ww->HWc", rows, np.asarray(picture), columns, optimize=True)
    ).astype(np.uint8)


def _cubic_spline(picture: Image.Image, h: int, w: int) -> np.ndarray:
    """A cubic spline after a Gaussian of σ = (old / new − 1) / 2: skimage's resize(order=3,
    anti_aliasing=True).
    """
    from scipy import ndimage

    image = np.asarray(picture)
    factors = np.array([picture.height / h, picture.width / w, 1.0])
    smooth = ndimage.gaussian_filter(
        image.astype(np.float64), np.maximum(0, (factors - 1) / 2), mode="mirror"
    )
    zoomed = ndimage.zoom(smooth, 1 / factors, order=3, mode="mirror", grid_mode=True)
    return np.clip(zoomed, image.min(), image.max()).astype(np.uint8)  # truncated, as MedSAM does


INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": _pil(Image.Resampling.NEAREST),
    "bilinear": _pil(Image.Resampling.BILINEAR),
    "bicubic": _pil(Image.Resampling.BICUBIC),
    "nearest_floor": _nearest_floor,
    "bilinear_float": _bilinear_float,
    "bilinear_plain": _bilinear_plain,
    "cubic_spline": _cubic_spline,
}
