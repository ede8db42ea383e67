"""Parts of transformers: attention, MLP, pre-norm block, patches, bicubic resizing."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from fairjax.models.architectures import TransformerConfig
from fairjax.models.stack import Stack


def gelu(x: Array) -> Array:
    """The exact GELU by erf; `jax.nn.gelu` uses erfc, four times as slow on XLA:CPU."""
    return 0.5 * x * (1 + jax.lax.erf(x * np.sqrt(0.5).astype(x.dtype)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
}

Mask = Bool[Array, "#b #h #n n"]  # true where a query (row) may attend to a key (column)

PATCH_INIT = nnx.initializers.lecun_normal(in_axis=(0, 1, 2))
KERNEL_INIT = nnx.initializers.xavier_uniform()
EMBED_INIT = nnx.initializers.truncated_normal(0.02)


def linear(n_in: int, n_out: int, *, bias: bool = True, dtype=None, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer, Xavier-initialised, with float32 parameters and computing in `dtype`."""
    return nnx.Linear(n_in, n_out, use_bias=bias, kernel_init=KERNEL_INIT, dtype=dtype, rngs=rngs)


def layer_norm(width: int, eps: float, *, dtype=None, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm by the two-pass variance: the one-pass form loses two digits against PyTorch."""
    return nnx.LayerNorm(width, epsilon=eps, use_fast_variance=False, dtype=dtype, rngs=rngs)


# benchmarks/towers.py also measures its form by cuDNN.
ACCELERATOR_ATTENTION = jax.nn.dot_product_attention


def attention(
    q: Float[Array, "b n h e"],
    k: Float[Array, "b m h e"],
    v: Float[Array, "b m h e"],
    bias: Float[Array, "#b h n m"] | None = None,
    mask: Bool[Array, "#b #h n m"] | None = None,
) -> Float[Array, "b n h e"]:
    """softmax(q kᵀ / √e + bias) v where `mask` is true, in a faster form on CPUs."""
    return jax.lax.platform_dependent(
        q, k, v, bias, mask, cpu=_attention_cpu, default=ACCELERATOR_ATTENTION
    )


def _attention_cpu(q, k, v, bias, mask):
    # Heads before tokens, and normalised after the product with v: XLA:CPU runs that 1.5 to 4 times
    # as fast as dot_product_attention (16 images, 197 tokens, 12 heads of 64: 18 ms against 68 ms
    # of CPU time).
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    scores = jnp.einsum(
        "bhne,bhme->bhnm", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32
    )
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    mixed = jnp.einsum(
        "bhnm,bhme->bhne", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    return (mixed / total).astype(v.dtype).swapaxes(1, 2)


class Attention(nnx.Module):
    """Multi-head self-attention with one fused projection of queries, keys and values.

    Args:
      width: width of the tokens; each head has width / heads channels.
      heads: number of heads.
      qkv_bias: whether the fused projection has a bias.
      per_head: whether the projection's columns are (heads, 3, head_dim), as in TinyViT, and not
        (3, heads, head_dim).
      dtype: data type of the computation.
      rngs: random keys of the initial weights.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        qkv_bias: bool = True,
        per_head: bool = False,
        dtype=None,
        rngs: nnx.Rngs,
    ):
        self.heads, self.per_head = heads, per_head
        self.qkv = linear(width, 3 * width, bias=qkv_bias, dtype=dtype, rngs=rngs)
        self.proj = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b n d"],
        mask: Mask | None = None,
        bias: Float[Array, "#b h n n"] | None = None,
    ) -> Float[Array, "b n d"]:
        """Attends where `mask` is true, with `bias` added to the scaled scores."""
        b, n, d = x.shape
        if self.per_head:
            q, k, v = jnp.moveaxis(self.qkv(x).reshape(b, n, self.heads, 3, d // self.heads), 3, 0)
        else:
            q, k, v = jnp.moveaxis(self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads), 2, 0)
        return self.proj(attention(q, k, v, bias, mask).reshape(b, n, d))


class MLP(nnx.Module):
    """Two linear layers with an activation, chosen by its name in `ACTIVATIONS`, between them."""

    def __init__(self, width: int, hidden: int, activation: str, *, dtype=None, rngs: nnx.Rngs):
        self.activation = activation
        self.fc1 = linear(width, hidden, dtype=dtype, rngs=rngs)
        self.fc2 = linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Maps each vector on its own."""
        return self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))


class LayerScale(nnx.Module):
    """Multiplies each channel by a learned factor (Touvron et al. 2021, CaiT, eq. 5)."""

    def __init__(self, width: int, initial: float):
        self.gamma = nnx.Param(jnp.full((width,), initial))

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Scales the last axis."""
        return x * self.gamma[...].astype(x.dtype)


class Block(nnx.Module):
    """A pre-norm transformer block, with layer scale if the configuration asks for it."""

    def __init__(self, config: TransformerConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.norm1 = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.attn = Attention(c.width, c.heads, qkv_bias=c.qkv_bias, dtype=dtype, rngs=rngs)
        self.ls1 = None if c.layer_scale is None else LayerScale(c.width, c.layer_scale)
        self.norm2 = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(c.width, c.mlp_dim, c.activation, dtype=dtype, rngs=rngs)
        self.ls2 = None if c.layer_scale is None else LayerScale(c.width, c.layer_scale)

    def __call__(self, x: Float[Array, "b n d"], mask: Mask | None = None) -> Float[Array, "b n d"]:
        """Attends where `mask` is true, everywhere without one."""
        attended = self.attn(self.norm1(x), mask)
        x = x + (attended if self.ls1 is None else self.ls1(attended))
        mixed = self.mlp(self.norm2(x))
        return x + (mixed if self.ls2 is None else self.ls2(mixed))


class Transformer(Stack):
    """A stack of pre-norm blocks, without a final norm."""

    def __init__(self, config: TransformerConfig, *, dtype=None, rngs: nnx.Rngs):
        super().__init__(
            lambda: Block(config, dtype=dtype, rngs=rngs),
            config.depth,
            scan=config.scan,
            remat=config.remat,
        )

    def __call__(self, x: Float[Array, "b n d"], mask: Mask | None = None) -> Float[Array, "b n d"]:
        """Returns the last block's output; each attends where `mask` is true."""
        return super().__call__(x, mask)


class PatchEmbed(nnx.Module):
    """Non-overlapping patches through one linear map: an unpadded, strided convolution.

    Rows and columns of pixels past the last whole patch are dropped, as that convolution does. On
    XLA:CPU the contraction below is up to 1.5 times as fast as `lax.conv_general_dilated`.
    """

    def __init__(
        self,
        patch: int,
        channels: int,
        width: int,
        *,
        bias: bool = True,
        dtype=None,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype
        self.kernel = nnx.Param(PATCH_INIT(rngs.params(), (patch, patch, channels, width)))
        self.bias = nnx.Param(jnp.zeros((width,))) if bias else None

    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Pixels -> a grid of patch vectors."""
        images, kernel, bias = nnx.nn.dtypes.promote_dtype(
            (images, self.kernel[...], 0.0 if self.bias is None else self.bias[...]),
            dtype=self.dtype,
        )
        p, _, c, _ = kernel.shape
        b, h, w = images.shape[0], images.shape[1] // p, images.shape[2] // p
        patches = images[:, : h * p, : w * p].reshape(b, h, p, w, p, c)
        return jnp.einsum("bhpwqc,pqcd->bhwd", patches, kernel) + bias


def bicubic_matrix(n_in: int, n_out: int, offset: float = 0.0) -> np.ndarray:
    """Weights of PyTorch's bicubic interpolation.

    Its cubic has a = -0.75, half-pixel centres, clamped edges and no antialiasing.

    `jax.image.resize` differs: its cubic has a = -0.5, antialiases, and takes no scale other than
    the ratio of sizes.

    Args:
      n_in: number of samples.
      n_out: number of samples wanted.
      offset: 0.1 for DINOv2, which passes scale_factor = (n_out + 0.1) / n_in; 0 for the exact
        ratio.

    Returns:
      A matrix (n_out, n_in) that maps samples to resized samples.
    """
    a = -0.75
    source = (np.arange(n_out) + 0.5) * n_in / (n_out + offset) - 0.5
    taps = np.floor(source)[:, None] + np.arange(-1, 3)  # (n_out, 4)
    x = np.abs(source[:, None] - taps)
    weights = np.where(
        x <= 1, ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    )
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None], np.clip(taps, 0, n_in - 1).astype(int)), weights)
    return matrix


def resize_bicubic(
    grid: Float[Array, "m n d"], h: int, w: int, offset: float = 0.0
) -> Float[Array, "h w d"]:
    """Resizes a grid of vectors by `bicubic_matrix` along both axes."""
    m, n, _ = grid.shape
    rows, columns = (
        jnp.asarray(bicubic_matrix(i, o, offset), grid.dtype) for i, o in ((m, h), (n, w))
    )
    return jnp.einsum("hm,wn,mnd->hwd", rows, columns, grid, precision="highest")
