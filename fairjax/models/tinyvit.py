"""TinyViT (Wu et al. 2022) with SAM's neck: the image encoder of MobileSAM (Zhang et al. 2023)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import TinyViTConfig
from fairjax.models.convolution import KERNEL_INIT, Neck, conv
from fairjax.models.layers import MLP, Attention, gelu, layer_norm
from fairjax.models.windows import from_windows, pad_to_multiple, to_windows
from fairjax.utils.errors import lookup


class ConvNorm(nnx.Module):
    """A convolution and a frozen BatchNorm, multiplied into the kernel."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int = 1,
        *,
        depthwise=False,
        eps,
        dtype,
        rngs,
    ):
        self.stride, self.eps, self.dtype = stride, eps, dtype
        shape = (kernel, kernel, 1 if depthwise else n_in, n_out)
        self.kernel = nnx.Param(KERNEL_INIT(rngs.params(), shape))
        self.scale = nnx.Param(jnp.ones((n_out,)))
        self.bias = nnx.Param(jnp.zeros((n_out,)))
        self.mean = nnx.BatchStat(jnp.zeros((n_out,)))
        self.var = nnx.BatchStat(jnp.ones((n_out,)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Convolves and normalises."""
        scale = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.eps)
        kernel, bias = self.kernel[...] * scale, self.bias[...] - self.mean[...] * scale
        x, kernel, bias = nnx.nn.dtypes.promote_dtype((x, kernel, bias), dtype=self.dtype)
        return conv(x, kernel, self.stride) + bias


class Bottleneck(nnx.Module):
    """1x1, depthwise 3x3 and 1x1 convolutions; without a shortcut, a patch merging."""

    def __init__(
        self,
        n_in: int,
        hidden: int,
        n_out: int,
        stride: int = 1,
        *,
        shortcut: bool,
        eps,
        dtype,
        rngs,
    ):
        self.shortcut = shortcut
        self.conv1 = ConvNorm(n_in, hidden, 1, eps=eps, dtype=dtype, rngs=rngs)
        self.conv2 = ConvNorm(
            hidden, hidden, 3, stride, depthwise=True, eps=eps, dtype=dtype, rngs=rngs
        )
        self.conv3 = ConvNorm(hidden, n_out, 1, eps=eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Mixes channels and neighbours; the activation follows the addition of the shortcut."""
        y = self.conv3(gelu(self.conv2(gelu(self.conv1(x)))))
        return gelu(x + y) if self.shortcut else y


def offset_index(window: int) -> np.ndarray:
    """Index (n, n) of each pair of tokens in the table of attention biases, by |dy| and |dx|."""
    y, x = np.divmod(np.arange(window**2), window)
    return np.abs(y[:, None] - y) * window + np.abs(x[:, None] - x)


class WindowAttention(nnx.Module):
    """Attention within windows, its bias a function of the distance along each axis.

    The grid is padded to whole windows *before* the norm, and the padding is attended to: the
    weights were trained so.
    """

    def __init__(self, width: int, heads: int, window: int, *, eps, dtype, rngs):
        self.window = window
        self.norm = layer_norm(width, eps, dtype=dtype, rngs=rngs)
        self.attn = Attention(width, heads, per_head=True, dtype=dtype, rngs=rngs)
        self.biases = nnx.Param(jnp.zeros((heads, window**2)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Mixes the tokens of each window."""
        _, h, w, c = x.shape
        n = self.window
        windows = to_windows(pad_to_multiple(x, n), n)
        tokens = self.norm(windows.reshape(-1, n * n, c))
        attended = self.attn(tokens, bias=self.biases[...][None, :, offset_index(n)])
        return from_windows(attended.reshape(windows.shape), h, w)


class Block(nnx.Module):
    """Window attention, a depthwise convolution, and an MLP."""

    def __init__(self, config: TinyViTConfig, stage: int, *, dtype, rngs):
        c, width = config, config.embed_dims[stage]
        self.attn = WindowAttention(
            width, c.heads[stage], c.windows[stage], eps=c.norm_eps, dtype=dtype, rngs=rngs
        )
        self.local_conv = ConvNorm(
            width,
            width,
            c.local_kernel,
            depthwise=True,
            eps=c.batch_norm_eps,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = layer_norm(width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, int(width * c.mlp_ratio), "gelu", dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Residual around attention and MLP, not around the convolution."""
        x = self.local_conv(x + self.attn(x))
        return x + self.mlp(self.norm(x))


class Stage(nnx.Module):
    """Blocks at one resolution, and the patch merging (a bottleneck) that leads to the next."""

    def __init__(self, config: TinyViTConfig, stage: int, *, dtype, rngs):
        c, width = config, config.embed_dims[stage]
        shared = {"eps": c.batch_norm_eps, "dtype": dtype, "rngs": rngs}

        def block():
            if stage > 0:
                return Block(config, stage, dtype=dtype, rngs=rngs)
            return Bottleneck(width, int(width * c.expand_ratio), width, shortcut=True, **shared)

        def merging(n_out: int):
            stride = c.last_stride if stage == len(c.depths) - 2 else 2
            return Bottleneck(width, n_out, n_out, stride, shortcut=False, **shared)

        self.blocks = nnx.List([block() for _ in range(c.depths[stage])])
        self.downsample = merging(c.embed_dims[stage + 1]) if stage < len(c.depths) - 1 else None

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """The blocks, then the merging."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nnx.Module):
    """MobileSAM's image encoder, for images of any size.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters and the features
        returned are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(self, config: TinyViTConfig, *, dtype=None, rngs: nnx.Rngs):
        c, first = config, config.embed_dims[0]
        self.config = config
        self._features = lookup("pooling", c.pool, {"neck": "__call__", "stages": "stage_features"})
        self.stem1 = ConvNorm(
            c.in_channels, first // 2, 3, 2, eps=c.batch_norm_eps, dtype=dtype, rngs=rngs
        )
        self.stem2 = ConvNorm(first // 2, first, 3, 2, eps=c.batch_norm_eps, dtype=dtype, rngs=rngs)
        self.stages = nnx.List(
            [Stage(c, stage, dtype=dtype, rngs=rngs) for stage in range(len(c.embed_dims))]
        )
        self.neck = Neck(c.embed_dims[-1], c.neck_dim, c.neck_norm_eps, dtype=dtype, rngs=rngs)

    @property
    def stride(self) -> int:
        """Pixels per cell of the last grid: 4 of the stem, 2 of all mergings but the last."""
        return 2 ** len(self.config.depths) * self.config.last_stride

    def stage_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> the last stage's grid of features, before the neck."""
        x = self.stem2(gelu(self.stem1(images)))
        for stage in self.stages:
            x = stage(x)
        return x

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Preprocessed images -> SAM's image embedding, one vector per 16x16 pixels."""
        return self.neck(self.stage_features(images)).astype(jnp.float32)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> features averaged over the grid, after or before the neck."""
        return getattr(self, self._features)(images).astype(jnp.float32).mean(axis=(1, 2))

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """The feature that a linear probe is trained on: here the pooled one."""
        return self.encode_image(images)
