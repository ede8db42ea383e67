"""SAM's prompt encoder: points, boxes and masks -> tokens, and a grid for the image."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.layers import EMBED_INIT, PatchEmbed, gelu, layer_norm
from fairjax.models.sam.tokens import Points


class PromptEncoder(nnx.Module):
    """Prompts of a batch of images, p of each.

    Args:
      config: width, mask_channels, and how points and boxes follow each other.
      dtype: precision of the computation; parameters are float32.
      rngs: for the initial weights.
    """

    def __init__(self, config: MaskDecoderConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        # Frequencies that are drawn once and not trained.
        self.frequencies = nnx.Variable(
            nnx.initializers.normal(1.0)(rngs.params(), (2, c.width // 2))
        )
        # By label, from NEGATIVE on.
        self.kinds = nnx.Param(EMBED_INIT(rngs.params(), (4, c.width)))
        self.padding = nnx.Param(EMBED_INIT(rngs.params(), (c.width,)))
        self.no_mask = nnx.Param(EMBED_INIT(rngs.params(), (c.width,)))
        half, full = c.mask_channels // 4, c.mask_channels
        self.mask_conv1 = PatchEmbed(2, 1, half, dtype=dtype, rngs=rngs)
        self.mask_norm1 = layer_norm(half, 1e-6, dtype=dtype, rngs=rngs)
        self.mask_conv2 = PatchEmbed(2, half, full, dtype=dtype, rngs=rngs)
        self.mask_norm2 = layer_norm(full, 1e-6, dtype=dtype, rngs=rngs)
        self.mask_conv3 = PatchEmbed(1, full, c.width, dtype=dtype, rngs=rngs)

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
          height: height of the model's input, in pixels.
          width: its width.
        """
        coords, labels = points
        positions = self.fourier((coords + 0.5) / jnp.array([width, height], jnp.float32))
        kinds = self.kinds[...][jnp.clip(labels, 0)]
        return jnp.where((labels < 0)[..., None], self.padding[...], positions + kinds)

    def dense(
        self, masks: Float[Array, "b p H W"] | None, h: int, w: int
    ) -> Float[Array, "b p h w c"]:
        """Embeds mask prompts (logits, 4 × as fine as the embedding); without any, a constant."""
        if masks is None:
            return jnp.broadcast_to(self.no_mask[...], (1, 1, h, w, self.config.width))
        b, p = masks.shape[:2]
        x = masks.reshape(b * p, *masks.shape[2:], 1)
        x = gelu(self.mask_norm1(self.mask_conv1(x)))
        x = gelu(self.mask_norm2(self.mask_conv2(x)))
        return self.mask_conv3(x).reshape(b, p, h, w, -1)
