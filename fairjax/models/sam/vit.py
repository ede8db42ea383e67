"""SAM's image encoder (Kirillov et al. 2023), after ViTDet (Li et al. 2022)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import SAMViTConfig
from fairjax.models.convolution import KERNEL_INIT, Neck, conv, conv_transpose
from fairjax.models.layers import EMBED_INIT, MLP, PatchEmbed, attention, layer_norm, linear
from fairjax.models.sam.resize import linear_matrix
from fairjax.models.windows import from_windows, pad_to_multiple, to_windows
from fairjax.utils.errors import UserError

# From which on images attend one after the other: scores are tokens² × heads numbers.
_MANY_TOKENS = 1024


class RelativeAttention(nnx.Module):
    """Self-attention over a grid, with a bias of queries and relative positions.

    Args:
      config: width, heads, qkv_bias.
      side: side of the grid that the embeddings are made for; for others they are interpolated.
    """

    def __init__(self, config: SAMViTConfig, side: int, *, dtype, rngs):
        self.heads = config.heads
        head_dim = config.width // config.heads
        self.qkv = linear(
            config.width, 3 * config.width, bias=config.qkv_bias, dtype=dtype, rngs=rngs
        )
        self.proj = linear(config.width, config.width, dtype=dtype, rngs=rngs)
        self.rel_pos_h = nnx.Param(jnp.zeros((2 * side - 1, head_dim)))
        self.rel_pos_w = nnx.Param(jnp.zeros((2 * side - 1, head_dim)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Mixes all tokens of each grid; zero padding is attended to, as it was in training."""
        b, h, w, c = x.shape
        qkv = self.qkv(x).reshape(b, h * w, 3, self.heads, c // self.heads)
        tables = self._table(self.rel_pos_h[...], h), self._table(self.rel_pos_w[...], w)
        mix = functools.partial(_attend, h=h, w=w, tables=tables)
        mixed = (
            jax.lax.map(lambda one: mix(one[None])[0], qkv) if h * w > _MANY_TOKENS else mix(qkv)
        )
        return self.proj(mixed.reshape(b, h, w, c))

    @staticmethod
    def _table(stored: Float[Array, "m e"], n: int) -> Float[Array, "n n e"]:
        """Embeddings of the distance of each query to each key, along one axis of n tokens."""
        if len(stored) != 2 * n - 1:
            stored = jnp.asarray(linear_matrix(len(stored), 2 * n - 1), stored.dtype) @ stored
        return stored[np.arange(n)[:, None] - np.arange(n) + n - 1]


def _attend(
    qkv: Float[Array, "b n 3 heads e"], h: int, w: int, tables: tuple[Array, Array]
) -> Array:
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    b, n, heads, e = q.shape
    grid = q.reshape(b, h, w, heads, e)  # the bias takes q as it is, before the scaling by 1 / √e
    along_h = jnp.einsum(
        "bijne,ike->bnijk", grid, tables[0].astype(q.dtype), preferred_element_type=jnp.float32
    )
    along_w = jnp.einsum(
        "bijne,jke->bnijk", grid, tables[1].astype(q.dtype), preferred_element_type=jnp.float32
    )
    bias = (along_h[..., :, None] + along_w[..., None, :]).reshape(b, heads, n, n)
    return attention(q, k, v, bias)


class Adapter(nnx.Module):
    """SAM-Med2D's adapter (Cheng et al. 2023): a gate, then a detour at half resolution."""

    def __init__(self, width: int, ratio: float, eps: float, *, dtype, rngs):
        hidden = int(width * ratio)
        self.dtype = dtype
        self.gate1 = linear(width, hidden, bias=False, dtype=dtype, rngs=rngs)
        self.gate2 = linear(hidden, width, bias=False, dtype=dtype, rngs=rngs)
        self.down = nnx.Param(KERNEL_INIT(rngs.params(), (3, 3, width, width)))
        self.up = nnx.Param(KERNEL_INIT(rngs.params(), (4, 4, width, width)))
        self.norm = layer_norm(width, eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """What is added to the output of the block's MLP."""
        gate = jax.nn.sigmoid(
            self.gate2(jax.nn.relu(self.gate1(x.mean(axis=(1, 2), keepdims=True))))
        )
        gated, down, up = nnx.nn.dtypes.promote_dtype(
            (x * gate, self.down[...], self.up[...]), dtype=self.dtype
        )
        detour = jax.nn.relu(conv_transpose(jax.nn.relu(conv(gated, down, 2)), up))
        return self.norm(x + detour)


class Block(nnx.Module):
    """A pre-norm block that attends within windows or globally, perhaps with an adapter."""

    def __init__(self, config: SAMViTConfig, index: int, *, dtype, rngs):
        c = config
        self.window = 0 if index in c.global_blocks else c.window
        self.norm1 = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.attn = RelativeAttention(c, self.window or c.grid, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(c.width, int(c.width * c.mlp_ratio), "gelu", dtype=dtype, rngs=rngs)
        ratio, eps = c.adapter_ratio, c.adapter_norm_eps
        self.adapter = (
            None if ratio is None else Adapter(c.width, ratio, eps, dtype=dtype, rngs=rngs)
        )

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """x + attn(norm(x)), windows cut after the norm; then x + mlp(norm(x)) (+ adapter)."""
        _, h, w, _ = x.shape
        y = self.norm1(x)
        if self.window:
            windows = to_windows(pad_to_multiple(y, self.window), self.window)
            y = from_windows(self.attn(windows), h, w)
        else:
            y = self.attn(y)
        x = x + y
        y = self.norm2(x)
        return x + self.mlp(y) + (0 if self.adapter is None else self.adapter(y))


class SAMViT(nnx.Module):
    """SAM's image encoder.

    Args:
      config: sizes and choices.
      dtype: precision of the computation (float32 or bfloat16); parameters are float32, and so are
        the features returned.
      rngs: for the initial weights.
    """

    def __init__(self, config: SAMViTConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.patch_embed = PatchEmbed(c.patch_size, c.in_channels, c.width, dtype=dtype, rngs=rngs)
        self.pos_embed = (
            nnx.Param(EMBED_INIT(rngs.params(), (c.grid, c.grid, c.width))) if c.abs_pos else None
        )
        self.blocks = nnx.List(
            [Block(c, index, dtype=dtype, rngs=rngs) for index in range(c.depth)]
        )
        self.neck = (
            None
            if c.neck_dim is None
            else Neck(c.width, c.neck_dim, c.neck_norm_eps, dtype=dtype, rngs=rngs)
        )

    @property
    def stride(self) -> int:
        """Pixels per cell of the image embedding."""
        return self.config.patch_size

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> one vector per patch: the image embedding."""
        x = self.patch_embed(images)
        if self.pos_embed is not None:
            if x.shape[1:] != self.pos_embed.shape:
                side = self.config.image_size
                raise UserError(
                    f"this image encoder takes {side} × {side} pixels, not {images.shape[1:3]}"
                )
            x = x + self.pos_embed[...].astype(x.dtype)
        for block in self.blocks:
            x = block(x)
        return (x if self.neck is None else self.neck(x)).astype(jnp.float32)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> the image embedding, averaged over the grid."""
        return self(images).mean(axis=(1, 2))

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """The feature that a linear probe is trained on: here the pooled one."""
        return self.encode_image(images)
