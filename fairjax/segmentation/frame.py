"""Between an image and what the model sees of it: where a pixel lies there, and how a mask comes back."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

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
    """

    preprocess: Preprocess
    decoder: MaskDecoderConfig

    def to_frame(self, xy: Float[np.ndarray, "*s 2"], height: int, width: int) -> Float[np.ndarray, "*s 2"]:
        """Points (x, y) in pixels of an image of this height and width -> in pixels of the model's input."""
        h, w = self.preprocess.resized_shape(height, width)
        return xy * np.array([w / width, h / height])

    def matrices(self, height: int, width: int, low: int) -> tuple[np.ndarray, np.ndarray]:
        """What enlarges a mask of low × low pixels to the image: `rows` (H, low) and `columns` (W, low)."""
        size = self.preprocess.size
        frame = (size, size) if self.decoder.upscale == "input" else None
        return mask_matrices((low, low), frame, self.preprocess.resized_shape(height, width), (height, width))

    @property
    def threshold(self) -> float:
        """Above it, a value of an enlarged mask is foreground."""
        return SPACES[self.decoder.mask_space]


def enlarge(
    masks: Float[Array, "*s h w"], rows: Float[Array, "H h"], columns: Float[Array, "W w"], space: str = "logits"
) -> Float[Array, "*s H W"]:
    """Enlarges masks by two matrices, as logits or as probabilities; in full float32, which decides on borders."""
    values = jax.nn.sigmoid(masks) if space == "probabilities" else masks
    return jnp.einsum("Hh,...hw,Ww->...HW", rows, values, columns, precision="highest")


def foreground(values: Float[Array, "*s H W"], threshold: float) -> Bool[Array, "*s H W"]:
    """The pixels of a mask."""
    return values > threshold
