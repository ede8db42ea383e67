"""Between an image and what the model sees of it: where a pixel lies there, and how a mask comes
back; in numpy.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.architectures.sam import SPACES
from fairjax.models.preprocess import Preprocess
from fairjax.models.sam.resize import mask_matrices


@dataclasses.dataclass(frozen=True)
class Frame:
    """The model's square input.

    Attributes:
      preprocess: how an image gets into it.
      decoder: how a mask is enlarged to the image.
      cut: above it, a logit is foreground; None for the model's own.
    """

    preprocess: Preprocess
    decoder: MaskDecoderConfig
    cut: float | None = None

    def to_frame(
        self, xy: Float[np.ndarray, "*s 2"], height: int, width: int
    ) -> Float[np.ndarray, "*s 2"]:
        """Points (x, y) in pixels of an image of this height and width -> in pixels of the model's
        input.
        """
        h, w = self.preprocess.resized_shape(height, width)
        return xy * np.array([w / width, h / height])

    def matrices(self, height: int, width: int, low: int) -> tuple[np.ndarray, np.ndarray]:
        """What enlarges a mask of low × low pixels to the image: `rows` (H, low) and `columns` (W,
        low).
        """
        size = self.preprocess.size
        frame = (size, size) if self.decoder.upscale == "input" else None
        return mask_matrices(
            (low, low), frame, self.preprocess.resized_shape(height, width), (height, width)
        )

    @property
    def space(self) -> str:
        """What is enlarged: a key of `SPACES`."""
        return self.decoder.mask_space if self.cut is None else "logits"

    @property
    def threshold(self) -> float:
        """Above it, a value of an enlarged mask is foreground."""
        return SPACES[self.decoder.mask_space] if self.cut is None else self.cut
