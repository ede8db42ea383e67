"""Between an image and what the model sees of it, in numpy: pixels, tokens of prompts, masks."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from fairjax.models.preprocess import Preprocess
from fairjax.models.protocols import MaskFormat, Promptable, PromptFormat
from fairjax.models.sam.resize import mask_matrices
from fairjax.models.sam.tokens import Points, padded


@dataclasses.dataclass(frozen=True)
class InputTransform:
    """The model's square input, and the way back.

    Attributes:
      preprocess: how an image gets into it.
      prompts: how prompts become tokens.
      masks: how decoded masks become those of an image.
      mask_size: side of decoded masks, in pixels.
    """

    preprocess: Preprocess
    prompts: PromptFormat
    masks: MaskFormat
    mask_size: int

    @classmethod
    def of(
        cls, module: Promptable, preprocess: Preprocess, masks: MaskFormat | None = None
    ) -> InputTransform:
        """Makes the transform of a model.

        Args:
          module: the model.
          preprocess: how an image gets into it.
          masks: how decoded masks are used; None for the model's own way.
        """
        masks = masks or module.mask_format
        return cls(preprocess, module.prompt_format, masks, module.mask_size(preprocess.size))

    def to_input(
        self, xy: Float[np.ndarray, "*s 2"], height: int, width: int
    ) -> Float[np.ndarray, "*s 2"]:
        """Moves points (x, y) from pixels of an image of this size to those of the input."""
        h, w = self.preprocess.resized_shape(height, width)
        return xy * np.array([w / width, h / height])

    def tokens(self, drawn: np.ndarray, length: int, height: int, width: int) -> Points:
        """Makes the tokens of one prompt: coordinates (length, 2) and labels (length,).

        Args:
          drawn: points (k, 2), or a box (4,), in pixels of the image.
          length: number of tokens, absent ones at the end.
          height: height of the image.
          width: its width.
        """
        if drawn.ndim == 1:
            box = self.to_input(drawn.reshape(2, 2), height, width).reshape(1, 4)
            coords, labels = self.prompts.tokens(boxes=box)
        else:
            points = self.to_input(drawn, height, width)[None]
            coords, labels = self.prompts.tokens(points, np.ones(points.shape[:2], np.int32))
        return padded(Points(coords[0], labels[0]), length)

    def matrices(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes what upsamples a decoded mask to an image: `rows` (H, h) and `columns` (W, w)."""
        size, resized = self.preprocess.size, self.preprocess.resized_shape(height, width)
        through = (size, size) if self.masks.through_input else None
        return mask_matrices((self.mask_size, self.mask_size), through, resized, (height, width))

    def mask_extent(self, height: int, width: int) -> tuple[int, int]:
        """Gives height and width of the part of a decoded mask that an image fills."""
        sides = self.preprocess.resized_shape(height, width)
        h, w = (max(1, round(side * self.mask_size / self.preprocess.size)) for side in sides)
        return h, w
