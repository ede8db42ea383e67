"""A model that is prompted, how its masks are compared with the truth, and what was measured."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Bool, Float

from fairjax.segmentation.frame import Frame


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How masks are compared with the truth.

    Attributes:
      measures: names from `fairjax.metrics.overlap.MEASURES`.
      tolerance: of `nsd`, in the unit of `spacing`.
      spacing: edge of an original pixel, in mm, of images that do not tell theirs; 1 for distances
        in pixels.
      size: longer side, in pixels, that larger images are compared at; 0 for their own size.
      in_frame: whether prompts are taken from, and masks compared with, the truth squashed to the
        model's input.
      skip_first_column: whether the column x = 0 is left out.
      empty: the overlap of two empty masks.
    """

    measures: tuple[str, ...] = ("dice", "iou", "nsd", "hd95")
    tolerance: float = 2.0
    spacing: float = 1.0
    size: int = 0
    in_frame: bool = False
    skip_first_column: bool = False
    empty: float = 1.0


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A frozen model that is prompted.

    Attributes:
      module: a `fairjax.models.sam.model.SAM`.
      frame: its preprocessing, and the way back.
      key: what identifies its masks besides images and prompts.
    """

    module: nnx.Module
    frame: Frame
    key: dict[str, Any]

    @functools.cached_property
    def low(self) -> int:
        """Side of the masks that are decoded, in pixels."""
        module: Any = self.module
        return 4 * (self.frame.preprocess.size // module.stride)


@dataclasses.dataclass(frozen=True)
class Measured:
    """How well the masks agree with the truth.

    Attributes:
      table: one row per object that was measured, as `Objects.table`.
      values: (objects, prompts, 2 selections, measures); see `SELECTIONS`.
      predicted_iou: (objects, prompts).
      valid: (images,) which could be read.
      quarantined: the others.
    """

    table: pd.DataFrame
    values: Float[np.ndarray, "k p 2 m"]
    predicted_iou: Float[np.ndarray, "k p"]
    valid: Bool[np.ndarray, " n"]
    quarantined: list[dict[str, Any]]
