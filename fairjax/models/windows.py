"""Windows of a grid of tokens: the grid padded to whole windows, cut into them, and put back."""

from __future__ import annotations

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

Grid = TypeVar("Grid", Array, np.ndarray)


def pad_to_multiple(x: Float[Array, "b h w c"], size: int) -> Float[Array, "b H W c"]:
    """Pads with zeros at the bottom and on the right until both sides are multiples of `size`."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % size), (0, -x.shape[2] % size), (0, 0)))


def to_windows(x: Shaped[Grid, "b h w c"], side: int) -> Shaped[Grid, "n side side c"]:
    """Cuts a grid, whose sides are multiples of `side`, into windows; those of an image in rows."""
    b, h, w, c = x.shape
    windows = x.reshape(b, h // side, side, w // side, side, c).swapaxes(2, 3)
    return windows.reshape(-1, side, side, c)


def from_windows(
    windows: Shaped[Array, "n side side c"], h: int, w: int
) -> Shaped[Array, "b {h} {w} c"]:
    """Puts windows back together to a grid of h × w, without the padding."""
    _, side, _, c = windows.shape
    rows, columns = -(-h // side), -(-w // side)
    x = windows.reshape(-1, rows, columns, side, side, c).swapaxes(2, 3)
    return x.reshape(-1, rows * side, columns * side, c)[:, :h, :w]
