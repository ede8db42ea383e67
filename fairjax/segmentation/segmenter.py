"""A model that is prompted, how its masks are compared with the truth, and what was measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from fairjax.models.protocols import Promptable
from fairjax.segmentation.transform import InputTransform


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How masks are compared with the truth.

    Attributes:
      metrics: names from `fairjax.metrics.overlap.MEASURES`.
      tolerance: distance that `nsd` tolerates, in the unit of `spacing`.
      spacing: edge of an original pixel, in mm, where files do not hold theirs; 1 for distances in
        pixels.
      max_side: longer side, in pixels, that larger images are compared at; 0 for their own size.
      in_input: whether prompts are taken from, and masks compared with, the truth squashed to the
        model's input.
      skip_first_column: whether the column x = 0 is left out.
      empty: overlap of two empty masks.
    """

    metrics: tuple[str, ...] = ("dice", "iou", "nsd", "hd95")
    tolerance: float = 2.0
    spacing: float = 1.0
    max_side: int = 0
    in_input: bool = False
    skip_first_column: bool = False
    empty: float = 1.0

    def compared_size(self, height: int, width: int, transform: InputTransform) -> tuple[int, int]:
        """Gives height and width that an image's masks are compared at."""
        if self.in_input:
            return transform.preprocess.resized_shape(height, width)
        shrink = min(1.0, self.max_side / max(height, width)) if self.max_side else 1.0
        return max(1, round(height * shrink)), max(1, round(width * shrink))


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A frozen model that is prompted.

    Attributes:
      module: the model, an `nnx.Module`.
      transform: its preprocessing, and the way back.
      key: what identifies its masks besides images and prompts.
    """

    module: Promptable
    transform: InputTransform
    key: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Measured:
    """How well the masks agree with the truth.

    Attributes:
      table: one row per object that was measured, as `Objects.table`.
      values: (objects, prompts, 2 selections, metrics); see `SELECTIONS`.
      predicted_iou: (objects, prompts).
      valid: (images,) which could be read.
      quarantined: the others.
    """

    table: pd.DataFrame
    values: Float[np.ndarray, "k p 2 m"]
    predicted_iou: Float[np.ndarray, "k p"]
    valid: Bool[np.ndarray, " n"]
    quarantined: list[dict[str, Any]]
