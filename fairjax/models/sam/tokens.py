"""Prompts as tokens, in numpy alone: loader processes make them, and never import jax."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fairjax.models.architectures import MaskDecoderConfig
from fairjax.utils.errors import UserError

# Labels of tokens. An absent token is not attended to: it fills a prompt up to the longest of the
# batch.
ABSENT, PADDING, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -2, -1, 0, 1, 2, 3


class Points(NamedTuple):
    """Prompts as tokens: `coords` (b, p, t, 2) are (x, y) in pixels of the model's input, `labels`
    (b, p, t).
    """

    coords: Any
    labels: Any


def tokens(
    config: MaskDecoderConfig,
    points: Float[np.ndarray, "*s k 2"] | None = None,
    labels: Int[np.ndarray, "*s k"] | None = None,
    boxes: Float[np.ndarray, "*s 4"] | None = None,
) -> Points:
    """Puts points and boxes in the order, and with the padding token, that a model was trained
    with.

    Args:
      config: settings of the decoder: which comes first, and what is padded.
      points: (x, y) in pixels of the model's input.
      labels: 1 for the object, 0 for the background, -1 for a padding.
      boxes: (x0, y0, x1, y1), corners that belong to the box.
    """
    parts = []
    if points is not None:
        if labels is None:
            raise UserError("points need labels: 1 for the object, 0 for the background")
        parts.append((np.asarray(points, np.float32), np.asarray(labels, np.int32)))
    if boxes is not None:
        corners = np.asarray(boxes, np.float32).reshape(*np.shape(boxes)[:-1], 2, 2)
        kinds = np.broadcast_to(np.array([TOP_LEFT, BOTTOM_RIGHT], np.int32), corners.shape[:-1])
        parts.insert(0 if config.boxes_first else len(parts), (corners, kinds))
    if parts and (boxes is None or config.always_pad):
        shape = (*parts[0][1].shape[:-1], 1)
        parts.append((np.zeros((*shape, 2), np.float32), np.full(shape, PADDING, np.int32)))
    if not parts:
        return Points(np.zeros((1, 1, 0, 2), np.float32), np.zeros((1, 1, 0), np.int32))
    coords = np.concatenate([xy for xy, _ in parts], axis=-2)
    return Points(coords, np.concatenate([kind for _, kind in parts], axis=-1))


@dataclasses.dataclass(frozen=True)
class SAMPrompts:
    """SAM's `fairjax.models.protocols.PromptFormat`.

    Attributes:
      config: settings of the decoder.
    """

    config: MaskDecoderConfig

    def tokens(
        self,
        points: Float[np.ndarray, "*s k 2"] | None = None,
        labels: Int[np.ndarray, "*s k"] | None = None,
        boxes: Float[np.ndarray, "*s 4"] | None = None,
    ) -> Points:
        """Puts points and boxes in order; see the function of this name."""
        return tokens(self.config, points, labels, boxes)

    def length(self, n_points: int) -> int:
        """Counts the tokens of a prompt of so many points, or of a box alone (0)."""
        return n_points + 1 if n_points else 2 + self.config.always_pad


def padded(points: Points, length: int) -> Points:
    """The same prompts with absent tokens at the end, up to `length`."""
    missing = [(0, 0)] * (points.labels.ndim - 1) + [(0, length - points.labels.shape[-1])]
    labels = np.pad(points.labels, missing, constant_values=ABSENT)
    return Points(np.pad(points.coords, [*missing, (0, 0)]), labels)
