"""The vision transformer: the image tower of CLIP, SigLIP, BLIP and DINOv2."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import ViTConfig
from fairjax.models.layers import EMBED_INIT, PatchEmbed, Transformer, layer_norm, resize_bicubic
from fairjax.models.pooling import AttentionPool
from fairjax.utils.errors import UserError, lookup

# How the normalised tokens become one vector; n_prefix tokens (the class token) come before the
# patches.
POOLS: dict[str, Callable[[Array, int], Array]] = {
    "cls": lambda tokens, n_prefix: tokens[:, 0],
    "mean": lambda tokens, n_prefix: tokens[:, n_prefix:].mean(axis=1),
    "cls_mean": lambda tokens, n_prefix: jnp.concatenate(
        [tokens[:, 0], tokens[:, n_prefix:].mean(axis=1)], axis=-1
    ),
}


class ViT(nnx.Module):
    """A ViT (Dosovitskiy et al. 2021) with pre-norm blocks.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(self, config: ViTConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        lookup("pooling", c.pool, {**POOLS, "map": AttentionPool})
        if not c.class_token and c.pool not in ("mean", "map"):
            raise UserError(f"architecture: pool={c.pool!r} needs class_token=True")
        self.config = config
        self.n_prefix = int(c.class_token)
        self.patch_embed = PatchEmbed(
            c.patch_size, c.in_channels, c.width, bias=c.patch_bias, dtype=dtype, rngs=rngs
        )
        self.cls_token = nnx.Param(EMBED_INIT(rngs.params(), (c.width,))) if c.class_token else None
        self.pos_embed = nnx.Param(EMBED_INIT(rngs.params(), (self.n_prefix + c.grid**2, c.width)))
        self.pre_norm = (
            layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs) if c.pre_norm else None
        )
        self.encoder = Transformer(c, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(c.width, c.final_norm_eps or c.norm_eps, dtype=dtype, rngs=rngs)
        self.head = AttentionPool(c, dtype=dtype, rngs=rngs) if c.pool == "map" else None

    def positions(self, h: int, w: int) -> Float[Array, "n d"]:
        """Position embeddings of the class token and of h×w patches, resized if need be."""
        c = self.config
        stored = self.pos_embed[...]
        if (h, w) == (c.grid, c.grid):
            return stored
        if c.resize_offset is None:
            raise UserError(
                f"this model takes images of {c.image_size}x{c.image_size} pixels, not of {h}x{w} "
                f"patches of {c.patch_size} pixels: its position embedding is not resized"
            )
        grid = stored[self.n_prefix :].reshape(c.grid, c.grid, c.width)
        resized = resize_bicubic(grid, h, w, c.resize_offset).reshape(h * w, c.width)
        return jnp.concatenate([stored[: self.n_prefix], resized])

    def embed(self, images: Float[Array, "b H W c"]) -> Float[Array, "b n d"]:
        """Class token and patches with their positions: what enters the first block."""
        x = self.patch_embed(images)
        b, h, w, d = x.shape
        x = x.reshape(b, h * w, d)
        if self.cls_token is not None:
            cls = jnp.broadcast_to(self.cls_token[...].astype(x.dtype), (b, 1, d))
            x = jnp.concatenate([cls, x], axis=1)
        x = x + self.positions(h, w).astype(x.dtype)
        return x if self.pre_norm is None else self.pre_norm(x)

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b n d"]:
        """All tokens after the final norm, the class token first."""
        return self.norm(self.encoder(self.embed(images)))

    def pool(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b f"]:
        """One vector per image."""
        return (
            POOLS[self.config.pool](tokens, self.n_prefix)
            if self.head is None
            else self.head(tokens)
        )

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """Preprocessed images -> the pooled feature, in float32."""
        return self.pool(self(images)).astype(jnp.float32)

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """The feature that a linear probe is trained on: here the pooled one."""
        return self.encode_image(images)
