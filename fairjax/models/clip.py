"""CLIP (Radford et al. 2021) and what descends from it: two towers with a joint embedding space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from fairjax.models.architectures import (
    BERTConfig,
    CLIPTextConfig,
    ImageTextConfig,
    SwinConfig,
    ViTConfig,
)
from fairjax.models.architectures.image_text import PROBES
from fairjax.models.bert import BERT
from fairjax.models.layers import EMBED_INIT, Transformer, gelu, layer_norm, linear
from fairjax.models.swin import Swin
from fairjax.models.vit import ViT
from fairjax.utils.errors import UserError, lookup


class CLIPText(nnx.Module):
    """The text transformer of CLIP and SigLIP."""

    def __init__(self, config: CLIPTextConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        lookup("pooling", c.pool, TEXT_POOLS)
        self.config = config
        self.token_embed = nnx.Embed(
            c.vocab_size, c.width, embedding_init=EMBED_INIT, dtype=dtype, rngs=rngs
        )
        self.pos_embed = nnx.Param(EMBED_INIT(rngs.params(), (c.context_length, c.width)))
        self.encoder = Transformer(c, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)

    def embed(self, token_ids: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        """Tokens with their positions: what enters the first block."""
        length, context = token_ids.shape[1], self.config.context_length
        if length > context:
            raise UserError(
                f"this text tower takes at most {context} tokens, not {length}: "
                f"truncate the prompts"
            )
        x = self.token_embed(token_ids)
        return x + self.pos_embed[:length].astype(x.dtype)

    def __call__(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b l d"]:
        """All tokens after the final norm; padding, where `mask` is false, is not attended."""
        # (b, 1, queries, keys)
        attend = None if mask is None else mask.astype(bool)[:, None, None, :]
        if self.config.causal:
            length = token_ids.shape[1]
            causal = jnp.tril(jnp.ones((length, length), bool))[None, None]
            attend = causal if attend is None else causal & attend
        return self.norm(self.encoder(self.embed(token_ids), attend))

    def encode_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b d"]:
        """The vector at the position that represents the text."""
        tokens = self(token_ids, mask)
        position = TEXT_POOLS[self.config.pool](token_ids, self.config.eos_token_id)
        return jnp.take_along_axis(tokens, position[:, None, None], axis=1)[:, 0]


# Token ids (b, l) and the id of end-of-text -> the position (b,) that represents the text.
TEXT_POOLS = {
    "eos": lambda ids, eos: jnp.argmax(
        ids if eos is None else ids == eos, axis=1
    ),  # the first of equals
    "last": lambda ids, eos: jnp.full(ids.shape[0], ids.shape[1] - 1),
}


class ProjectionMLP(nnx.Module):
    """open_clip's projection of a BERT: two linear maps without bias, via the mean width."""

    def __init__(self, n_in: int, n_out: int, *, dtype=None, rngs: nnx.Rngs):
        self.fc1 = linear(n_in, (n_in + n_out) // 2, bias=False, dtype=dtype, rngs=rngs)
        self.fc2 = linear((n_in + n_out) // 2, n_out, bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        """Maps each vector."""
        return self.fc2(gelu(self.fc1(x)))


# From a tower's pooled feature to the joint space: (n_in, n_out, dtype, rngs) -> a module, or None.
PROJECTIONS: dict[str, Callable[..., Any]] = {
    "none": lambda n_in, n_out, **kwargs: None,
    "linear": lambda n_in, n_out, **kwargs: linear(n_in, n_out, bias=False, **kwargs),
    "affine": linear,
    "mlp": ProjectionMLP,
}

TOWERS = {ViTConfig: ViT, SwinConfig: Swin, CLIPTextConfig: CLIPText, BERTConfig: BERT}


class CLIP(nnx.Module):
    """An image and a text tower with a joint embedding space.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters and the features
        returned are float32.
      rngs: random keys of the initial weights.
    """

    IMAGE_TOWER = "vision"

    def __init__(self, config: ImageTextConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.vision = TOWERS[type(c.vision)](c.vision, dtype=dtype, rngs=rngs)
        self.text = TOWERS[type(c.text)](c.text, dtype=dtype, rngs=rngs)
        visual, text = (
            lookup("projection", kind, PROJECTIONS)
            for kind in (c.visual_projection, c.text_projection)
        )
        self.visual_projection = visual(c.vision.width, c.embed_dim, dtype=dtype, rngs=rngs)
        self.text_projection = text(c.text.width, c.embed_dim, dtype=dtype, rngs=rngs)
        self.logit_scale = nnx.Param(jnp.log(jnp.float32(1 / 0.07)))  # CLIP's initial temperature
        # SigLIP's initial bias.
        self.logit_bias = nnx.Param(jnp.float32(-10.0)) if c.logit_bias else None

    def pool_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b v"]:
        """Preprocessed images -> the image tower's vector, before the projection."""
        return self.vision.encode_image(images)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b e"]:
        """Preprocessed images -> the joint space, not normalised."""
        pooled = self.pool_image(images)
        return (
            pooled
            if self.visual_projection is None
            else self.visual_projection(pooled).astype(jnp.float32)
        )

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """The feature that a linear probe is trained on; the configuration says which."""
        return getattr(self, PROBES[self.config.probe])(images)

    def pool_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b t"]:
        """Token ids -> the text tower's vector, before the projection."""
        return self.text.encode_text(token_ids, mask)

    def encode_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b e"]:
        """Token ids (and a mask, false where padding) -> the joint space, not normalised."""
        pooled = self.pool_text(token_ids, mask)
        return (pooled if self.text_projection is None else self.text_projection(pooled)).astype(
            jnp.float32
        )

    def logits(self, image: Float[Array, "b e"], text: Float[Array, "k e"]) -> Float[Array, "b k"]:
        """Cosines times the learned exp(logit_scale), plus the bias if there is one."""
        limits = self.config.logit_scale_range
        scale = (
            self.logit_scale[...] if limits is None else jnp.clip(self.logit_scale[...], *limits)
        )
        return self._with_bias(jnp.exp(scale) * cosines(image, text))

    def zero_shot_logits(
        self, image: Float[Array, "b e"], text: Float[Array, "k e"]
    ) -> Float[Array, "b k"]:
        """Cosines times the scale of zero-shot classification, plus the bias if there is one."""
        c = self.config
        learned = c.zero_shot_factor * jnp.exp(self.logit_scale[...])
        return self._with_bias(
            (learned if c.zero_shot_scale is None else c.zero_shot_scale) * cosines(image, text)
        )

    def _with_bias(self, logits: Float[Array, "b k"]) -> Float[Array, "b k"]:
        return logits if self.logit_bias is None else logits + self.logit_bias[...]


def normalized(x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    """Vectors of length 1."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def cosines(image: Float[Array, "b e"], text: Float[Array, "k e"]) -> Float[Array, "b k"]:
    """Cosine of every image embedding with every text embedding."""
    return normalized(image) @ normalized(text).T
