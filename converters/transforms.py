"""What happens to an array on its way from PyTorch's layout to ours, and on the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

Arrays = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Transform:
    """An invertible map from one or several source arrays to one target array."""

    name: str
    forward: Callable[[Arrays], np.ndarray]
    inverse: Callable[[np.ndarray, int], Arrays]  # also takes the number of sources


def _one(
    name: str,
    forward: Callable[[np.ndarray], np.ndarray],
    inverse: Callable[[np.ndarray], np.ndarray],
):
    return Transform(name, lambda xs: forward(xs[0]), lambda y, n: [inverse(y)])


def _axes(*order: int) -> Callable[[np.ndarray], np.ndarray]:
    def permute(x: np.ndarray) -> np.ndarray:
        return x.transpose(order)

    return permute


IDENTITY = _one("as it is", lambda x: x, lambda y: y)
LINEAR = _one("(out, in) -> (in, out)", _axes(1, 0), _axes(1, 0))
CONV = _one("OIHW -> HWIO", _axes(2, 3, 1, 0), _axes(3, 2, 0, 1))
CONV_TRANSPOSE = _one("IOHW -> HWIO", _axes(2, 3, 0, 1), _axes(2, 3, 0, 1))
CHANNELS_LAST = _one(
    "1CHW -> HWC", lambda x: x[0].transpose(1, 2, 0), lambda y: y.transpose(2, 0, 1)[None]
)
# Separate query, key and value projections -> the columns of one.
FUSE = Transform("join", lambda xs: np.concatenate(xs), lambda y, n: np.split(y, n))
FUSE_LINEAR = Transform(
    "join, (out, in) -> (in, out)", lambda xs: np.concatenate(xs).T, lambda y, n: np.split(y.T, n)
)

# Biases of query and value -> those of query, key and value: the key's are zero.
FUSE_QV = Transform(
    "join around zeros",
    lambda xs: np.concatenate([xs[0], np.zeros_like(xs[0]), xs[1]]),
    lambda y, n: [np.split(y, 3)[0], np.split(y, 3)[2]],
)


def squeeze(leading: int) -> Transform:
    """Removes leading axes of length 1, as in a class token (1, 1, d)."""
    axes = tuple(range(leading))
    return _one(
        f"drop {leading} axes", lambda x: x.squeeze(axes), lambda y: np.expand_dims(y, axes)
    )
