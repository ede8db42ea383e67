"""Swin (Liu et al. 2021), MedCLIP's image tower: attention within shifted windows."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import SwinConfig
from fairjax.models.layers import EMBED_INIT, MLP, Attention, PatchEmbed, layer_norm, linear
from fairjax.models.windows import from_windows, pad_to_multiple, to_windows
from fairjax.utils.errors import UserError

SHIFT_MASK = -100.0  # added to the scores between regions that only the shift made neighbours


def relative_positions(window: int) -> np.ndarray:
    """For every pair of tokens of a window, the row of the bias table: (n, n), n = window²."""
    y, x = np.divmod(np.arange(window**2), window)
    return (y[:, None] - y + window - 1) * (2 * window - 1) + (x[:, None] - x + window - 1)


def shift_bias(h: int, w: int, window: int, shift: int) -> np.ndarray:
    """Returns what keeps regions that the shift wrapped around apart: (windows, 1, n, n) scores."""

    def stripe(size: int) -> np.ndarray:
        return np.searchsorted([size - window, size - shift], np.arange(size), side="right")

    grid = 3 * stripe(h)[:, None] + stripe(w)
    regions = to_windows(grid[None, ..., None], window).reshape(-1, window**2)
    apart = regions[:, None, :, None] != regions[:, None, None, :]
    return np.where(apart, SHIFT_MASK, 0.0).astype(np.float32)


class SwinBlock(nnx.Module):
    """A pre-norm block whose attention stays within windows."""

    def __init__(
        self,
        width: int,
        heads: int,
        config: SwinConfig,
        shifted: bool,
        *,
        dtype=None,
        rngs: nnx.Rngs,
    ):
        c = config
        self.window, self.shifted = c.window, shifted
        self.norm1 = layer_norm(width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.attn = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.bias_table = nnx.Param(EMBED_INIT(rngs.params(), ((2 * c.window - 1) ** 2, heads)))
        self.norm2 = layer_norm(width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, int(c.mlp_ratio * width), c.activation, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Attends within windows of a grid that is rolled by half a window if `shifted`."""
        _, h, w, _ = x.shape
        if min(h, w) < self.window:
            raise UserError(
                f"a grid of {h}x{w} patches is smaller than Swin's windows of {self.window}: "
                f"take larger images"
            )
        padded = pad_to_multiple(self.norm1(x), self.window)
        shift = self.window // 2 if self.shifted and min(h, w) > self.window else 0
        rolled = jnp.roll(padded, (-shift, -shift), axis=(1, 2))
        attended = jnp.roll(self._attend(rolled, shift), (shift, shift), axis=(1, 2))
        x = x + attended[:, :h, :w]
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Float[Array, "b h w d"], shift: int) -> Float[Array, "b h w d"]:
        b, h, w, d = x.shape
        m = self.window
        windows = to_windows(x, m)
        bias = self.bias_table[...][relative_positions(m)].transpose(2, 0, 1)  # (heads, n, n)
        bias = bias[None]
        if shift:
            bias = jnp.tile(bias + shift_bias(h, w, m, shift), (b, 1, 1, 1))
        attended = self.attn(windows.reshape(-1, m * m, d), bias=bias.astype(x.dtype))
        return from_windows(attended.reshape(windows.shape), h, w)


class PatchMerging(nnx.Module):
    """Four neighbours -> one token of twice the width."""

    def __init__(self, width: int, norm_eps: float, *, dtype=None, rngs: nnx.Rngs):
        self.norm = layer_norm(4 * width, norm_eps, dtype=dtype, rngs=rngs)
        self.reduction = linear(4 * width, 2 * width, bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 d2"]:
        """Halves the grid; its sides are padded to even numbers."""
        x = pad_to_multiple(x, 2)
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(jnp.concatenate(corners, axis=-1)))


class SwinStage(nnx.Module):
    """Blocks on one grid, and, but for the last stage, the merging of its patches."""

    def __init__(self, config: SwinConfig, stage: int, *, dtype=None, rngs: nnx.Rngs):
        c, width = config, config.widths[stage]
        self.blocks = nnx.List(
            [
                SwinBlock(width, c.heads[stage], c, shifted=bool(i % 2), dtype=dtype, rngs=rngs)
                for i in range(c.depths[stage])
            ]
        )
        last = stage == len(c.depths) - 1
        self.downsample = None if last else PatchMerging(width, c.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 d2"]:
        """The grid that the next stage gets."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class Swin(nnx.Module):
    """A Swin transformer, without absolute positions, for images of any size.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(self, config: SwinConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.patch_embed = PatchEmbed(
            c.patch_size, c.in_channels, c.embed_dim, dtype=dtype, rngs=rngs
        )
        self.embed_norm = layer_norm(c.embed_dim, c.norm_eps, dtype=dtype, rngs=rngs)
        self.stages = nnx.List(
            [SwinStage(c, i, dtype=dtype, rngs=rngs) for i in range(len(c.depths))]
        )
        self.norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)

    def embed(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """The grid of patches that enters the first stage."""
        return self.embed_norm(self.patch_embed(pad_to_multiple(images, self.config.patch_size)))

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """The last stage's grid after the final norm."""
        x = self.embed(images)
        for stage in self.stages:
            x = stage(x)
        return self.norm(x)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> the average over the grid, in float32."""
        return self(images).mean(axis=(1, 2)).astype(jnp.float32)
