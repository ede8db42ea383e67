"""CLIP (Radford et al. 2021): one module for OpenAI's and Hugging Face's checkpoints and their descendants."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from fairjax.errors import UserError, lookup
from fairjax.models.architectures import CLIPConfig, CLIPTextConfig
from fairjax.models.layers import EMBED_INIT, Transformer, layer_norm, linear
from fairjax.models.vit import ViT


class CLIPText(nnx.Module):
    """CLIP's causal text transformer."""

    def __init__(self, config: CLIPTextConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.token_embed = nnx.Embed(c.vocab_size, c.width, embedding_init=EMBED_INIT, dtype=dtype, rngs=rngs)
        self.pos_embed = nnx.Param(EMBED_INIT(rngs.params(), (c.context_length, c.width)))
        self.encoder = Transformer(c, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(c.width, c.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None) -> Float[Array, "b l d"]:
        """All tokens after the final norm; padding, where `mask` is false, is not attended."""
        length, context = token_ids.shape[1], self.config.context_length
        if length > context:
            raise UserError(f"this text tower takes at most {context} tokens, not {length}: truncate the prompts")
        x = self.token_embed(token_ids)
        x = x + self.pos_embed[:length].astype(x.dtype)
        attend = jnp.tril(jnp.ones((length, length), bool))[None, None]  # (1, 1, queries, keys)
        if mask is not None:
            attend = attend & mask.astype(bool)[:, None, None, :]
        return self.norm(self.encoder(x, attend))

    def pool(self, tokens: Float[Array, "b l d"], token_ids: Int[Array, "b l"]) -> Float[Array, "b d"]:
        """The vector at the end-of-text token."""
        eos = self.config.eos_token_id
        position = jnp.argmax(token_ids if eos is None else token_ids == eos, axis=1)  # the first of equals
        return jnp.take_along_axis(tokens, position[:, None, None], axis=1)[:, 0]


class CLIP(nnx.Module):
    """An image and a text tower with a joint embedding space.

    Args:
      config: sizes and choices.
      dtype: of the computation (float32 or bfloat16); parameters are float32, and so are the features returned.
      rngs: for the initial weights.
    """

    def __init__(self, config: CLIPConfig, *, dtype=None, rngs: nnx.Rngs):
        self.config = config
        self._probe = lookup("probe feature", config.probe, {"projected": "encode_image", "pooled": "pool_image"})
        self.vision = ViT(config.vision, dtype=dtype, rngs=rngs)
        self.text = CLIPText(config.text, dtype=dtype, rngs=rngs)
        self.visual_projection = linear(config.vision.width, config.embed_dim, bias=False, dtype=dtype, rngs=rngs)
        self.text_projection = linear(config.text.width, config.embed_dim, bias=False, dtype=dtype, rngs=rngs)
        self.logit_scale = nnx.Param(jnp.log(jnp.float32(1 / 0.07)))  # CLIP's initial temperature

    def pool_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b v"]:
        """Preprocessed images -> the class token after the final norm, before the projection."""
        return self.vision.encode_image(images)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b e"]:
        """Preprocessed images -> the joint space, not normalised."""
        return self.visual_projection(self.pool_image(images)).astype(jnp.float32)

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """The feature that a linear probe is trained on; the configuration says which."""
        return getattr(self, self._probe)(images)

    def pool_text(self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None) -> Float[Array, "b t"]:
        """Token ids -> the vector at the end-of-text token after the final norm, before the projection."""
        return self.text.pool(self.text(token_ids, mask), token_ids)

    def encode_text(self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None) -> Float[Array, "b e"]:
        """Token ids (and a mask, false where padding) -> the joint space, not normalised."""
        return self.text_projection(self.pool_text(token_ids, mask)).astype(jnp.float32)

    def logits(self, image: Float[Array, "b e"], text: Float[Array, "k e"]) -> Float[Array, "b k"]:
        """Cosines of image and text embeddings times the learned exp(logit_scale)."""
        return jnp.exp(self.logit_scale[...]) * cosines(image, text)

    def zero_shot_logits(self, image: Float[Array, "b e"], text: Float[Array, "k e"]) -> Float[Array, "b k"]:
        """Cosines times the scale that this model's zero-shot classification uses."""
        c = self.config
        if c.zero_shot_scale is not None:
            return c.zero_shot_scale * cosines(image, text)
        return c.zero_shot_factor * self.logits(image, text)


def cosines(image: Float[Array, "b e"], text: Float[Array, "k e"]) -> Float[Array, "b k"]:
    """Cosine of every image embedding with every text embedding."""
    image, text = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (image, text))
    return image @ text.T
