"""BERT (Devlin et al. 2019): the text tower of MedCLIP, BiomedCLIP, BLIP and BLIP-2."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from fairjax.models.architectures import BERTConfig
from fairjax.models.layers import EMBED_INIT, MLP, Attention, attention, layer_norm, linear
from fairjax.utils.errors import UserError, lookup

# How the outputs of all layers (b, l, d) become one vector.
POOLS: dict[str, Callable[[list[Array]], Array]] = {
    "cls": lambda layers: layers[-1][:, 0],
    # MedCLIP: the average over all positions, padding included, so that it depends on how far a
    # batch is padded.
    "mean_1_2_last": lambda layers: (layers[0] + layers[1] + layers[-1]).mean(axis=1) / 3,
}


class CrossAttention(nnx.Module):
    """norm(x + attn(x, context)): attention to the tokens of an image, of any width."""

    def __init__(self, config: BERTConfig, context_width: int, *, dtype=None, rngs: nnx.Rngs):
        width, self.heads = config.width, config.heads
        self.q = linear(width, width, dtype=dtype, rngs=rngs)
        self.kv = linear(context_width, 2 * width, dtype=dtype, rngs=rngs)
        self.proj = linear(width, width, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, config.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "b n d"], context: Float[Array, "b m c"]
    ) -> Float[Array, "b n d"]:
        """Every token attends to all of `context`."""
        b, n, d = x.shape
        q = self.q(x).reshape(b, n, self.heads, d // self.heads)
        k, v = jnp.moveaxis(
            self.kv(context).reshape(b, context.shape[1], 2, self.heads, d // self.heads), 2, 0
        )
        return self.norm(x + self.proj(attention(q, k, v).reshape(b, n, d)))


class FeedForward(nnx.Module):
    """norm(x + mlp(x))."""

    def __init__(self, config: BERTConfig, *, dtype=None, rngs: nnx.Rngs):
        self.mlp = MLP(config.width, config.mlp_dim, config.activation, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(config.width, config.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Maps each token on its own."""
        return self.norm(x + self.mlp(x))


class BERTLayer(nnx.Module):
    """A post-norm layer; with a context, the queries (without any, all tokens) attend to it."""

    def __init__(
        self, config: BERTConfig, context_width: int | None, *, dtype=None, rngs: nnx.Rngs
    ):
        c = config
        self.attn = Attention(c.width, c.heads, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        self.cross = (
            None
            if context_width is None
            else CrossAttention(c, context_width, dtype=dtype, rngs=rngs)
        )
        self.text = FeedForward(c, dtype=dtype, rngs=rngs)
        self.query = FeedForward(c, dtype=dtype, rngs=rngs) if c.queries else None

    def attend(
        self, x: Float[Array, "b n d"], context: Float[Array, "b m c"] | None
    ) -> Float[Array, "b n d"]:
        """Attends to an image, in the layers that do, if there is one."""
        return x if self.cross is None or context is None else self.cross(x, context)

    def __call__(
        self,
        x: Float[Array, "b n d"],
        mask: Bool[Array, "b 1 1 n"] | None = None,
        context: Float[Array, "b m c"] | None = None,
        n_queries: int = 0,
    ) -> Float[Array, "b n d"]:
        """Attends to the tokens where `mask` is true; the first `n_queries` are queries."""
        x = self.norm(x + self.attn(x, mask))
        if self.query is None or not n_queries:
            return self.text(self.attend(x, context))
        queries, text = self.query(self.attend(x[:, :n_queries], context)), x[:, n_queries:]
        return jnp.concatenate([queries, self.text(text)], axis=1) if text.shape[1] else queries


class BERT(nnx.Module):
    """BERT without its pooler.

    Args:
      config: sizes and choices.
      context_width: width of the image's tokens, if there are layers that attend to them.
      dtype: data type of the computation (float32 or bfloat16); parameters are float32.
      rngs: random keys of the initial weights.
    """

    def __init__(
        self, config: BERTConfig, context_width: int | None = None, *, dtype=None, rngs: nnx.Rngs
    ):
        c = config
        lookup("pooling", c.pool, POOLS)
        self.config = config
        self.token_embed = nnx.Embed(
            c.vocab_size, c.width, embedding_init=EMBED_INIT, dtype=dtype, rngs=rngs
        )
        self.pos_embed = nnx.Param(EMBED_INIT(rngs.params(), (c.positions, c.width)))
        self.type_embed = (
            nnx.Param(EMBED_INIT(rngs.params(), (c.token_types, c.width)))
            if c.token_types
            else None
        )
        self.embed_norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)
        crosses = [c.cross_every > 0 and i % c.cross_every == 0 for i in range(c.depth)]
        self.layers = nnx.List(
            [
                BERTLayer(c, context_width if cross else None, dtype=dtype, rngs=rngs)
                for cross in crosses
            ]
        )

    def embed_text(self, token_ids: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        """Token, position and (of type 0) token type embeddings, summed."""
        length, positions = token_ids.shape[1], self.config.positions
        if length > positions:
            raise UserError(
                f"this text tower takes at most {positions} tokens, not {length}: "
                f"truncate the prompts"
            )
        x = self.token_embed(token_ids)
        x = x + self.pos_embed[:length].astype(x.dtype)
        return x if self.type_embed is None else x + self.type_embed[0].astype(x.dtype)

    def embed(self, token_ids: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        """Returns the input of the first layer for a text alone."""
        return self.embed_norm(self.embed_text(token_ids))

    def layer_outputs(
        self,
        x: Float[Array, "b n d"],
        mask: Bool[Array, "b n"] | None = None,
        context: Float[Array, "b m c"] | None = None,
        n_queries: int = 0,
    ) -> list[Float[Array, "b n d"]]:
        """Returns the outputs of all layers; tokens where `mask` is false are not attended."""
        attend = None if mask is None else mask.astype(bool)[:, None, None, :]
        outputs = []
        for layer in self.layers:
            x = layer(x, attend, context, n_queries)
            outputs.append(x)
        return outputs

    def mask(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None
    ) -> Bool[Array, "b l"] | None:
        """Returns the mask, or that of all tokens but padding if the model makes its own."""
        pad = self.config.pad_token_id
        return token_ids != pad if mask is None and pad is not None else mask

    def __call__(
        self,
        token_ids: Int[Array, "b l"],
        mask: Bool[Array, "b l"] | None = None,
        context: Float[Array, "b m c"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Returns the last layer of a text, which attends to `context` where its layers can."""
        return self.layer_outputs(self.embed(token_ids), self.mask(token_ids, mask), context)[-1]

    def encode_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b d"]:
        """One vector per text."""
        return POOLS[self.config.pool](
            self.layer_outputs(self.embed(token_ids), self.mask(token_ids, mask))
        )


class QFormer(BERT):
    """BLIP-2's Q-Former: a BERT whose learned queries attend to an image, perhaps with a text."""

    def __init__(self, config: BERTConfig, context_width: int, *, dtype=None, rngs: nnx.Rngs):
        super().__init__(config, context_width, dtype=dtype, rngs=rngs)
        self.query_embed = nnx.Param(EMBED_INIT(rngs.params(), (config.queries, config.width)))

    def query(
        self,
        context: Float[Array, "b m c"],
        token_ids: Int[Array, "b l"] | None = None,
        mask: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b q d"]:
        """Returns the outputs of the learned queries for an image, alone or with a text."""
        b, n = context.shape[0], self.config.queries
        x = jnp.broadcast_to(self.query_embed[...].astype(context.dtype), (b, n, self.config.width))
        attend = None
        if token_ids is not None:
            x = jnp.concatenate([x, self.embed_text(token_ids)], axis=1)
            if mask is not None:
                attend = jnp.concatenate([jnp.ones((b, n), bool), mask.astype(bool)], axis=1)
        return self.layer_outputs(self.embed_norm(x), attend, context, n)[-1][:, :n]
