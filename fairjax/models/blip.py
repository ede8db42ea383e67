"""BLIP (Li et al. 2022) and BLIP-2's first stage (Li et al. 2023)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from fairjax.models.architectures import BLIPConfig
from fairjax.models.bert import BERT, QFormer
from fairjax.models.clip import normalized
from fairjax.models.layers import linear
from fairjax.models.vit import ViT
from fairjax.utils.errors import UserError


class BLIP(nnx.Module):
    """BLIP: an image is its class token.

    Args:
      config: sizes and choices.
      dtype: data type of the computation (float32 or bfloat16); parameters and the features
        returned are float32.
      rngs: random keys of the initial weights.
    """

    TEXT: type[BERT] = BERT
    IMAGE_TOWER = "vision"

    def __init__(self, config: BLIPConfig, *, dtype=None, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.vision = ViT(c.vision, dtype=dtype, rngs=rngs)
        self.text = self.TEXT(c.text, c.vision.width, dtype=dtype, rngs=rngs)
        self.visual_projection = linear(c.probe_width, c.embed_dim, dtype=dtype, rngs=rngs)
        self.text_projection = linear(c.text.width, c.embed_dim, dtype=dtype, rngs=rngs)
        self.temperature = nnx.Param(jnp.float32(0.07)) if c.temperature else None
        self.matching = linear(c.text.width, 2, dtype=dtype, rngs=rngs) if c.matching else None

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b f"]:
        """The feature that a linear probe is trained on: the class token after the final norm."""
        return self.vision.encode_image(images)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b e"]:
        """Preprocessed images -> the joint space, normalised."""
        return normalized(self.visual_projection(self.probe_features(images)).astype(jnp.float32))

    def encode_text(
        self, token_ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b e"]:
        """Token ids (and a mask, false where padding) -> the joint space, normalised."""
        return normalized(
            self.text_projection(self.text.encode_text(token_ids, mask)).astype(jnp.float32)
        )

    def similarity(
        self, image: Float[Array, "b e"], text: Float[Array, "k e"]
    ) -> Float[Array, "b k"]:
        """Cosine of every image embedding with every text embedding."""
        return image @ normalized(text).T

    def logits(
        self, image: Float[Array, "b *q e"], text: Float[Array, "k e"]
    ) -> Float[Array, "b k"]:
        """Similarities, divided by the learned temperature if there is one."""
        similarity = self.similarity(image, text)
        return similarity if self.temperature is None else similarity / self.temperature[...]

    def zero_shot_logits(
        self, image: Float[Array, "b *q e"], text: Float[Array, "k e"]
    ) -> Float[Array, "b k"]:
        """The logits of zero-shot classification, which are the others."""
        return self.logits(image, text)

    def match(
        self,
        images: Float[Array, "b H W c"],
        token_ids: Int[Array, "b l"],
        mask: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b 2"]:
        """Returns the logits of "text i does not fit image i" and of "it fits"."""
        return self._matched(self.text(token_ids, mask, self.vision(images))[:, :1])

    def _matched(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b 2"]:
        if self.matching is None:
            raise UserError("this model has no head for image-text matching")
        return self.matching(tokens).astype(jnp.float32).mean(axis=1)


class BLIP2(BLIP):
    """BLIP-2's first stage: an image is the outputs of the Q-Former's queries."""

    TEXT = QFormer
    text: QFormer

    def query(self, images: Float[Array, "b H W c"]) -> Float[Array, "b q d"]:
        """Preprocessed images -> one vector per learned query."""
        return self.text.query(self.vision(images))

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """The feature that a linear probe is trained on: the first query's."""
        return self.query(images)[:, 0].astype(jnp.float32)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b q e"]:
        """Preprocessed images -> one normalised vector of the joint space per query."""
        return normalized(self.visual_projection(self.query(images)).astype(jnp.float32))

    def similarity(
        self, image: Float[Array, "b q e"], text: Float[Array, "k e"]
    ) -> Float[Array, "b k"]:
        """The largest of the queries' cosines with every text embedding."""
        return jnp.einsum("bqe,ke->bkq", image, normalized(text)).max(axis=-1)

    def match(
        self,
        images: Float[Array, "b H W c"],
        token_ids: Int[Array, "b l"],
        mask: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b 2"]:
        """Returns the same logits, averaged over queries that attend to image and text."""
        return self._matched(self.text.query(self.vision(images), token_ids, mask))
