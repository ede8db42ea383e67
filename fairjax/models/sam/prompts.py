"""SAM's prompt encoder: points, boxes and masks -> tokens, and a grid that is added to the image embedding."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from fairjax.errors import UserError
from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.layers import EMBED_INIT, PatchEmbed, gelu, layer_norm

# Labels of tokens. An absent token is not attended to: it stands where another prompt of the batch has more tokens.
ABSENT, PADDING, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -2, -1, 0, 1, 2, 3


class Points(NamedTuple):
    """Prompts as tokens: `coords` (b, p, t, 2) are (x, y) in pixels of the model's input, `labels` (b, p, t)."""

    coords: Float[Array, "b p t 2"]
    labels: Int[Array, "b p t"]


class PromptEncoder(nnx.Module):
    """Prompts of a batch of images, p of each.

    Args:
      config: width, mask_channels, and how points and boxes follow each other.
      dtype: of the computation; parameters are float32.
      rngs: for the initial weights.
    """

    def __init__(self, config: MaskDecoderConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        # Frequencies that are drawn once and not trained.
        self.frequencies = nnx.Variable(nnx.initializers.normal(1.0)(rngs.params(), (2, c.width // 2)))
        self.kinds = nnx.Param(EMBED_INIT(rngs.params(), (4, c.width)))  # by label, from NEGATIVE on
        self.padding = nnx.Param(EMBED_INIT(rngs.params(), (c.width,)))
        self.no_mask = nnx.Param(EMBED_INIT(rngs.params(), (c.width,)))
        half, full = c.mask_channels // 4, c.mask_channels
        self.mask_conv1 = PatchEmbed(2, 1, half, dtype=dtype, rngs=rngs)
        self.mask_norm1 = layer_norm(half, 1e-6, dtype=dtype, rngs=rngs)
        self.mask_conv2 = PatchEmbed(2, half, full, dtype=dtype, rngs=rngs)
        self.mask_norm2 = layer_norm(full, 1e-6, dtype=dtype, rngs=rngs)
        self.mask_conv3 = PatchEmbed(1, full, c.width, dtype=dtype, rngs=rngs)

    def tokens(
        self,
        points: Float[Array, "b p k 2"] | None = None,
        labels: Int[Array, "b p k"] | None = None,
        boxes: Float[Array, "b p 4"] | None = None,
    ) -> Points:
        """Puts points and boxes in the order, and with the padding token, that the model was trained with.

        Args:
          points: (x, y) in pixels of the model's input.
          labels: 1 for the object, 0 for the background, -1 for a padding.
          boxes: (x0, y0, x1, y1), corners that belong to the box.
        """
        parts = []
        if points is not None:
            if labels is None:
                raise UserError("points need labels: 1 for the object, 0 for the background")
            parts.append((jnp.asarray(points, jnp.float32), jnp.asarray(labels, jnp.int32)))
        if boxes is not None:
            corners = jnp.asarray(boxes, jnp.float32).reshape(*boxes.shape[:-1], 2, 2)
            kinds = jnp.broadcast_to(jnp.array([TOP_LEFT, BOTTOM_RIGHT]), corners.shape[:-1])
            parts.insert(0 if self.config.boxes_first else len(parts), (corners, kinds))
        if parts and (boxes is None or self.config.always_pad):
            shape = (*parts[0][1].shape[:-1], 1)
            parts.append((jnp.zeros((*shape, 2)), jnp.full(shape, PADDING)))
        if not parts:
            return Points(jnp.zeros((1, 1, 0, 2)), jnp.zeros((1, 1, 0), jnp.int32))
        coords = jnp.concatenate([place for place, _ in parts], axis=-2)
        return Points(coords, jnp.concatenate([kind for _, kind in parts], axis=-1))

    def fourier(self, places: Float[Array, "*s 2"]) -> Float[Array, "*s c"]:
        """Random Fourier features of places (x, y) in [0, 1]² (Tancik et al. 2020)."""
        phase = 2 * np.pi * ((2 * places - 1) @ self.frequencies[...])
        return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)

    def grid(self, h: int, w: int) -> Float[Array, "h w c"]:
        """Positions of the cells of an image embedding, at their centres."""
        y, x = jnp.meshgrid((jnp.arange(h) + 0.5) / h, (jnp.arange(w) + 0.5) / w, indexing="ij")
        return self.fourier(jnp.stack([x, y], axis=-1))

    def sparse(self, points: Points, height: int, width: int) -> Float[Array, "b p t c"]:
        """Embeds the tokens of prompts.

        Args:
          points: from `tokens`; pixels are meant at their centres, 0.5 from their corner.
          height, width: of the model's input, in pixels.
        """
        coords, labels = points
        positions = self.fourier((coords + 0.5) / jnp.array([width, height], jnp.float32))
        kinds = self.kinds[...][jnp.clip(labels, 0)]
        return jnp.where((labels < 0)[..., None], self.padding[...], positions + kinds)

    def dense(self, masks: Float[Array, "b p H W"] | None, h: int, w: int) -> Float[Array, "b p h w c"]:
        """Embeds mask prompts (logits, four times as fine as the image embedding); without any, a constant."""
        if masks is None:
            return jnp.broadcast_to(self.no_mask[...], (1, 1, h, w, self.config.width))
        b, p = masks.shape[:2]
        x = masks.reshape(b * p, *masks.shape[2:], 1)
        x = gelu(self.mask_norm1(self.mask_conv1(x)))
        x = gelu(self.mask_norm2(self.mask_conv2(x)))
        return self.mask_conv3(x).reshape(b, p, h, w, -1)
