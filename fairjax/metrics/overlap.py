"""How well two masks agree: overlap, and the distance between their surfaces.

Masks are boolean, of any number of dimensions (2 or 3 in practice). All functions are pure, may be
jitted, and take one pair of masks; a batch is `jax.lax.map` or `jax.vmap` of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

Mask: TypeAlias = Bool[Array | np.ndarray, "*s"]
Spacing: TypeAlias = Float[Array | np.ndarray, " d"]

PERCENTILE = 0.95
_FAR = 1e12  # squared distance of a voxel that has no surface to be near to


def dice(
    pred: Mask,
    true: Mask,
    empty: float | Array = 1.0,
) -> Float[Array, ""]:
    """2 |A ∩ B| / (|A| + |B|), as 1 − |A △ B| / (|A| + |B|), which is exact near 1.

    Args:
      pred: predicted mask.
      true: true mask.
      empty: value where both are empty: nothing to find, and nothing found. (torchmetrics has 0.)

    Source: Dice 1945.
    """
    total = _count(pred) + _count(true)
    return jnp.where(total == 0, empty, 1 - _count(pred ^ true) / jnp.maximum(total, 1))


def iou(
    pred: Mask,
    true: Mask,
    empty: float | Array = 1.0,
) -> Float[Array, ""]:
    """|A ∩ B| / |A ∪ B|, and `empty` where both are empty; Jaccard 1912."""
    union = _count(pred | true)
    return jnp.where(union == 0, empty, 1 - _count(pred ^ true) / jnp.maximum(union, 1))


def surface(mask: Mask) -> Bool[Array, "*s"]:
    """The voxels of a mask that have a neighbour (by face) outside of it; beyond the image all is
    outside.
    """
    padded = jnp.pad(mask, 1)
    inner = jnp.asarray(mask)
    for axis in range(mask.ndim):
        for shift in (0, 2):
            window = [
                slice(shift, shift + n) if a == axis else slice(1, 1 + n)
                for a, n in enumerate(mask.shape)
            ]
            inner &= padded[tuple(window)]
    return jnp.asarray(mask) & ~inner


def squared_distance(target: Mask, spacing: Spacing) -> Float[Array, "*s"]:
    """Exact squared Euclidean distance of every voxel to the nearest voxel of `target`; 1e12 where
    there is none.

    Axis by axis, g(i) = min_j f(j) + (i − j)² of the voxels of a line; a row of i at a time, to
    bound memory.

    Args:
      target: a set of voxels.
      spacing: (d,) edges of a voxel, in mm or pixels.

    Source: Saito & Toriwaki 1994.
    """
    distance = jnp.where(target, 0.0, _FAR)
    for axis in range(target.ndim):
        lines = jnp.moveaxis(distance, axis, 0)
        places = jnp.arange(len(lines), dtype=jnp.float32)

        def nearest(
            place: Array,
            lines: Array = lines,
            places: Array = places,
            step: Any = spacing[axis],
        ) -> Array:
            squares = ((places - place) * step) ** 2
            return (lines + squares.reshape(-1, *[1] * (lines.ndim - 1))).min(0)

        distance = jnp.moveaxis(lax.map(nearest, places), 0, axis)
    return jnp.minimum(distance, _FAR)


def hd95(
    pred: Mask,
    true: Mask,
    spacing: Spacing,
) -> Float[Array, ""]:
    """Robust Hausdorff distance: the larger of the 95th percentiles of the distances from either
    surface to the other.

    0 where both masks are empty, NaN where one is. Percentiles are linear, as NumPy's; voxels of a
    surface count alike.

    Source: Huttenlocher et al. 1993; of the two directed percentiles, the maximum, as MONAI.
    """
    (a, to_b), (b, to_a) = _surface_distances(pred, true, spacing)
    value = jnp.maximum(_percentile(to_b, a), _percentile(to_a, b))
    either, both = jnp.any(a) | jnp.any(b), jnp.any(a) & jnp.any(b)
    return jnp.where(both, value, jnp.where(either, jnp.nan, 0.0))


def nsd(
    pred: Mask,
    true: Mask,
    spacing: Spacing,
    tolerance: float | Array,
    empty: float | Array = 1.0,
) -> Float[Array, ""]:
    """Normalised surface Dice: the fraction of both surfaces' voxels that are within `tolerance` of
    the other surface.

    Args:
      pred: predicted mask.
      true: true mask.
      spacing: (d,) edges of a voxel, in mm or pixels.
      tolerance: distance that counts as none, in the same unit.
      empty: value where both are empty; where one is, it is 0.

    Source: Nikolov et al. 2021, Clinically applicable segmentation of head and neck anatomy; in
    voxels of the surfaces.
    """
    parts = _surface_distances(pred, true, spacing)
    near = sum(_count(side & (distance <= tolerance)) for side, distance in parts)
    total = sum(_count(side) for side, _ in parts)
    return jnp.where(total == 0, empty, near / jnp.maximum(total, 1))


class Measure(NamedTuple):
    """A row of `MEASURES`: `of(pred, true, spacing, tolerance, empty)`; its label and direction are
    in `METRICS`.
    """

    of: Callable[[Array, Array, Array, Array, Array], Array]
    has_unit: bool


MEASURES: dict[str, Measure] = {
    "dice": Measure(lambda pred, true, spacing, tolerance, empty: dice(pred, true, empty), False),
    "iou": Measure(lambda pred, true, spacing, tolerance, empty: iou(pred, true, empty), False),
    "nsd": Measure(
        lambda pred, true, spacing, tolerance, empty: nsd(pred, true, spacing, tolerance, empty),
        True,
    ),
    "hd95": Measure(lambda pred, true, spacing, tolerance, empty: hd95(pred, true, spacing), True),
}


def _count(mask: Mask) -> Array:
    return jnp.asarray(mask).sum(dtype=jnp.int32)


def _surface_distances(
    pred: Mask, true: Mask, spacing: Spacing
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Of either mask, its surface, and the distance of every voxel to the surface of the other."""
    a, b = surface(pred), surface(true)
    return (a, jnp.sqrt(squared_distance(b, spacing))), (b, jnp.sqrt(squared_distance(a, spacing)))


def _percentile(values: Array, chosen: Array) -> Array:
    ascending = jnp.sort(jnp.where(chosen, values, jnp.inf).reshape(-1))
    position = PERCENTILE * jnp.maximum(_count(chosen) - 1, 0)
    below = jnp.floor(position).astype(jnp.int32)
    low, high = ascending[below], ascending[jnp.minimum(below + 1, _count(chosen) - 1)]
    return low + (high - low) * (position - below)
