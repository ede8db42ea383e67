"""PyTorch's `interpolate(mode="linear" | "bilinear", align_corners=False)` as matrices, in numpy
alone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def linear_matrix(n_in: int, n_out: int) -> Float[np.ndarray, "out in"]:
    """Weights of linear interpolation: half-pixel centres, clamped at the edges, no antialiasing.

    Args:
      n_in: samples there are.
      n_out: samples wanted.
    """
    source = np.maximum((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0)
    low = np.minimum(source.astype(int), n_in - 1)
    high = np.minimum(low + 1, n_in - 1)
    matrix, rows = np.zeros((n_out, n_in)), np.arange(n_out)
    np.add.at(matrix, (rows, low), 1 - (source - low))
    np.add.at(matrix, (rows, high), source - low)
    return matrix


def mask_matrices(
    low: tuple[int, int],
    frame: tuple[int, int] | None,
    resized: tuple[int, int],
    original: tuple[int, int],
) -> tuple[Float[np.ndarray, "H h"], Float[np.ndarray, "W w"]]:
    """The two matrices that upsample a decoded mask to the original image: `rows @ mask @
    columns.T`.

    Args:
      low: (h, w) of the mask.
      frame: sides of the model's input, if the mask is first upsampled to that and its padding cut
        off; else None.
      resized: the part of the frame that the image fills, at its top left.
      original: (H, W) of the image.
    """

    def one(n_low: int, n_frame: int, n_resized: int, n_original: int) -> np.ndarray:
        return linear_matrix(n_resized, n_original) @ linear_matrix(n_low, n_frame)[:n_resized]

    if frame is None:
        rows, columns = (linear_matrix(a, b) for a, b in zip(low, original))
    else:
        rows, columns = (one(*sides) for sides in zip(low, frame, resized, original))
    return rows.astype(np.float32), columns.astype(np.float32)
