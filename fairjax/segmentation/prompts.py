"""Prompts from true masks, in numpy: what a careful (or a careless) user would have clicked on.

Pixels are (x, y), counted from 0 at the top left; a box is (x0, y0, x1, y1), both corners inside of
it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from fairjax.models.protocols import PromptFormat
from fairjax.utils.errors import UserError, did_you_mean

Mask = Bool[np.ndarray, "h w"]


def tight_box(mask: Mask) -> Float[np.ndarray, " 4"]:
    """The smallest box that holds the mask."""
    (y0, y1), (x0, x1) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    return np.array([x0, y0, x1, y1], float)


def box(mask: Mask, rng: np.random.Generator, jitter: float) -> Float[np.ndarray, " 4"]:
    """The tight box, each edge moved by a uniform draw of up to ± jitter × the box's side, inside
    the image.
    """
    x0, y0, x1, y1 = tight_box(mask)
    if not jitter:
        return np.array([x0, y0, x1, y1])
    sides = np.array([x1 - x0 + 1, y1 - y0 + 1] * 2)
    moved = np.array([x0, y0, x1, y1]) + rng.uniform(-jitter, jitter, 4) * sides
    limits = np.array([mask.shape[1] - 1, mask.shape[0] - 1])
    low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    return np.concatenate([np.clip(low, 0, limits), np.clip(high, 0, limits)])


def center(mask: Mask, rng: np.random.Generator, jitter: float) -> Float[np.ndarray, "1 2"]:
    """FairMedFM's `center`: the middle of the bounding box, which may lie outside of the object."""
    x0, y0, x1, y1 = tight_box(mask)
    return np.array([[(x0 + x1) / 2, (y0 + y1) / 2]])


def interior(mask: Mask, rng: np.random.Generator, jitter: float) -> Float[np.ndarray, "1 2"]:
    """The pixel of the object that is furthest from its border, which the image's edge is too; the
    first of equals.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(depth), mask.shape)
    return np.array([[x, y]], float)


def _random(n: int) -> Callable[[Mask, np.random.Generator, float], np.ndarray]:
    def draw(mask: Mask, rng: np.random.Generator, jitter: float) -> Float[np.ndarray, "n 2"]:
        inside = np.flatnonzero(mask)
        chosen = rng.choice(inside, n, replace=len(inside) < n)
        return np.stack([chosen % mask.shape[1], chosen // mask.shape[1]], axis=1).astype(float)

    return draw


@dataclasses.dataclass(frozen=True)
class PromptKind:
    """A way of prompting: `draw(mask, rng, jitter)` gives points (k, 2), or a box (4,)."""

    title: str
    draw: Callable[[Mask, np.random.Generator, float], np.ndarray]
    random: bool
    n_points: int  # 0 for a box


KINDS: dict[str, PromptKind] = {
    "center": PromptKind("one point in the middle of the bounding box", center, False, 1),
    "interior": PromptKind(
        "one point, as far from the object's border as possible", interior, False, 1
    ),
    "rand": PromptKind("one random point of the object", _random(1), True, 1),
    "rands": PromptKind("five random points of the object", _random(5), True, 5),
    "bbox": PromptKind("the bounding box", box, False, 0),
}


@dataclasses.dataclass(frozen=True)
class PromptPlan:
    """Which prompts every object gets.

    Attributes:
      kinds: names from `KINDS`.
      draws: how many draws of each random prompt.
      jitter: how far boxes are moved, as a fraction of their sides; if not 0, boxes are random too.
      seed: seed of the draws.
    """

    kinds: tuple[str, ...]
    draws: int = 1
    jitter: float = 0.0
    seed: int = 0

    @property
    def instances(self) -> list[tuple[str, int]]:
        """(kind, draw) of every prompt, in order."""
        return [
            (kind, draw)
            for kind in self.kinds
            for draw in range(self.draws if self._is_random(kind) else 1)
        ]

    def max_tokens(self, form: PromptFormat) -> int:
        """Counts the tokens of the prompt that has most of them."""
        return max(form.length(KINDS[kind].n_points) for kind in self.kinds)

    def _is_random(self, kind: str) -> bool:
        return KINDS[kind].random or (kind == "bbox" and self.jitter > 0)

    def draw(self, mask: Mask, image: str, target: str) -> list[np.ndarray]:
        """Every prompt of one object: points (k, 2) or a box (4,).

        Args:
          mask: mask of the object, with at least one pixel.
          image: name of the image.
          target: name of the object in it: the draws are theirs, whatever else is prompted.
        """
        return [
            KINDS[kind].draw(mask, generator(self.seed, image, target, kind, draw), self.jitter)
            for kind, draw in self.instances
        ]


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Makes random numbers by name, in numpy: the stream `prompts` of `fairjax.utils.random`."""
    words = "\0".join(["prompts", *map(str, names)])
    return np.random.default_rng([seed, *hashlib.sha256(words.encode()).digest()])


def parse(text: str) -> tuple[str, ...]:
    """Reads `center+rand+bbox`.

    Raises:
      UserError: there is none, one is unknown, or one is there twice.
    """
    names = tuple(name.strip() for name in text.split("+") if name.strip())
    for name in names:
        if name not in KINDS:
            raise UserError(
                f"unknown prompt {name!r}{did_you_mean(name, KINDS)}; there are {', '.join(KINDS)}"
            )
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"prompts must be different names joined by +, of {', '.join(KINDS)}; not {text!r}"
        )
    return names
