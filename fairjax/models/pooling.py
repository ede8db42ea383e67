"""Pooling that has weights of its own."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fairjax.models.architectures import ViTConfig
from fairjax.models.layers import EMBED_INIT, MLP, Attention, attention, layer_norm


class AttentionPool(nnx.Module):
    """SigLIP's MAP head (Zhai et al. 2022): a learned probe attends to all tokens."""

    def __init__(self, config: ViTConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.probe = nnx.Param(EMBED_INIT(rngs.params(), (c.width,)))
        self.attn = Attention(c.width, c.heads, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = MLP(c.width, c.mlp_dim, c.activation, dtype=dtype, rngs=rngs)

    def __call__(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        """One vector per image."""
        b, n, d = tokens.shape
        heads = self.attn.heads
        probe = jnp.broadcast_to(self.probe[...].astype(tokens.dtype), (b, 1, d))
        q = self.attn.qkv(probe)[..., :d].reshape(b, 1, heads, d // heads)
        k, v = jnp.moveaxis(
            self.attn.qkv(tokens)[..., d:].reshape(b, n, 2, heads, d // heads), 2, 0
        )
        x = self.attn.proj(attention(q, k, v).reshape(b, 1, d))
        return (x + self.mlp(self.norm(x)))[:, 0]
