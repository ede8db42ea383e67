"""Hiera (Ryali et al. 2023) with a feature pyramid: SAM 2's image encoder (Ravi et al. 2024)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import HieraConfig
from fairjax.models.layers import (
    EMBED_INIT,
    MLP,
    PATCH_INIT,
    PatchEmbed,
    attention,
    layer_norm,
    linear,
    resize_bicubic,
)
from fairjax.models.windows import from_windows, pad_to_multiple, to_windows

IMAGE_LEVEL = 2  # of the pyramid, the one that is the image embedding


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Max-pooling with kernel and stride 2."""
    return jax.lax.reduce_window(
        x, jnp.array(-jnp.inf, x.dtype), jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    )


class PooledAttention(nnx.Module):
    """Self-attention over a grid, to its own width, whose queries may be pooled."""

    def __init__(self, width: int, n_out: int, heads: int, pooled: bool, *, dtype, rngs):
        self.heads, self.pooled = heads, pooled
        self.qkv = linear(width, 3 * n_out, dtype=dtype, rngs=rngs)
        self.proj = linear(n_out, n_out, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Mixes all tokens of each grid."""
        b = len(x)
        q, k, v = jnp.split(self.qkv(x), 3, axis=-1)
        q = halve(q) if self.pooled else q
        _, rows, columns, d = q.shape
        q, k, v = (y.reshape(b, -1, self.heads, d // self.heads) for y in (q, k, v))
        return self.proj(attention(q, k, v).reshape(b, rows, columns, d))


class Block(nnx.Module):
    """A pre-norm block, which may change the width and, if `pooled`, halves the grid.

    Args:
      config: settings of the encoder.
      width: channels before.
      n_out: channels after.
      heads: number of heads of the attention.
      window: side of the windows before pooling, 0 for none.
      pooled: whether the grid is halved.
    """

    def __init__(
        self,
        config: HieraConfig,
        width: int,
        n_out: int,
        heads: int,
        window: int,
        pooled: bool,
        *,
        dtype,
        rngs,
    ):
        self.window, self.pooled = window, pooled
        self.norm1 = layer_norm(width, config.norm_eps, dtype=dtype, rngs=rngs)
        self.shortcut = linear(width, n_out, dtype=dtype, rngs=rngs) if width != n_out else None
        self.attn = PooledAttention(width, n_out, heads, pooled, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(n_out, config.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(n_out, int(n_out * config.mlp_ratio), "gelu", dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """The shortcut of a block that changes the width is projected from the normalised input."""
        y = self.norm1(x)
        if self.shortcut is not None:
            x = self.shortcut(y)
            x = halve(x) if self.pooled else x
        _, h, w, _ = x.shape
        if self.window:
            y = to_windows(pad_to_multiple(y, self.window), self.window)
        y = self.attn(y)
        x = x + (from_windows(y, h, w) if self.window else y)
        return x + self.mlp(self.norm2(x))


class Hiera(nnx.Module):
    """SAM 2's image encoder.

    Args:
      config: sizes and choices.
      dtype: precision of the computation (float32 or bfloat16); parameters are float32, and so are
        the features returned.
      rngs: for the initial weights.
    """

    def __init__(self, config: HieraConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config, self.dtype = config, dtype
        self.kernel = nnx.Param(
            PATCH_INIT(rngs.params(), (c.patch_kernel, c.patch_kernel, c.in_channels, c.width))
        )
        self.bias = nnx.Param(jnp.zeros((c.width,)))
        self.pos_embed = nnx.Param(EMBED_INIT(rngs.params(), (*c.background_grid, c.width)))
        self.pos_window = nnx.Param(
            EMBED_INIT(rngs.params(), (c.windows[0], c.windows[0], c.width))
        )
        blocks: list[Block] = []
        for stage, depth in enumerate(c.depths):
            for place in range(depth):
                begins = stage > 0 and place == 0
                window = 0 if len(blocks) in c.global_blocks else c.windows[stage - begins]
                width, n_out, heads = (
                    (c.width << stage - begins),
                    (c.width << stage),
                    (c.heads << stage),
                )
                pooled = begins and stage <= c.pooled_stages
                blocks.append(Block(c, width, n_out, heads, window, pooled, dtype=dtype, rngs=rngs))
        self.blocks = nnx.List(blocks)
        # From coarse to fine.
        widths = [c.width << stage for stage in reversed(range(len(c.depths)))]
        self.laterals = nnx.List(
            [PatchEmbed(1, width, c.neck_dim, dtype=dtype, rngs=rngs) for width in widths]
        )

    @property
    def stride(self) -> int:
        """Pixels per cell of the image embedding."""
        return self.config.patch_stride << IMAGE_LEVEL

    def stages(self, images: Float[Array, "b H W c"]) -> list[Float[Array, "b h w d"]]:
        """Preprocessed images -> the last features of every stage, from fine to coarse."""
        c, pad = self.config, self.config.patch_kernel // 2
        images, kernel, bias = nnx.nn.dtypes.promote_dtype(
            (images, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        x = jax.lax.conv_general_dilated(
            images,
            kernel,
            (c.patch_stride,) * 2,
            [(pad, pad)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = x + bias + self.positions(*x.shape[1:3]).astype(x.dtype)
        ends = [sum(c.depths[: stage + 1]) - 1 for stage in range(len(c.depths))]
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in ends:
                found.append(x)
        return found

    def positions(self, h: int, w: int) -> Float[Array, "h w d"]:
        """The coarse embedding resized to the grid, plus the one of a window, repeated."""
        side = self.config.windows[0]
        window = jnp.tile(self.pos_window[...], (h // side, w // side, 1))
        return resize_bicubic(self.pos_embed[...], h, w) + window

    def pyramid(self, images: Float[Array, "b H W c"]) -> list[Float[Array, "b h w d"]]:
        """Preprocessed images -> features of one width per stage, from fine to coarse."""
        stages = self.stages(images)
        levels: list[Array] = []
        for level, lateral in zip(reversed(range(len(stages))), self.laterals):
            x = lateral(stages[level])
            if level in self.config.top_down_levels and levels:
                x = x + jnp.repeat(jnp.repeat(levels[0], 2, axis=1), 2, axis=2)
            levels.insert(0, x)
        return [x.astype(jnp.float32) for x in levels]

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> the level of the pyramid that the image embedding is made of."""
        return self.pyramid(images)[IMAGE_LEVEL]
