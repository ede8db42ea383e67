"""A promptable segmentation model: an image encoder, a prompt encoder and a mask decoder."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from fairjax.models.architectures import (
    HieraConfig,
    PromptedConfig,
    SAMViTConfig,
    TinyViTConfig,
    override,
)
from fairjax.models.architectures.sam import SPACES
from fairjax.models.protocols import Embedding, MaskFormat
from fairjax.models.sam.decoder import MaskDecoder
from fairjax.models.sam.hiera import Hiera
from fairjax.models.sam.prompts import PromptEncoder
from fairjax.models.sam.tokens import ABSENT, Points, SAMPrompts
from fairjax.models.sam.vit import SAMViT
from fairjax.models.tinyvit import TinyViT

OF_EMBEDDING = ("decoder.skip4.", "decoder.skip8.")  # SAM 2: their outputs are embedded

ENCODERS: dict[type, Any] = {SAMViTConfig: SAMViT, TinyViTConfig: TinyViT, HieraConfig: Hiera}


class SAM(nnx.Module):
    """SAM and its descendants; what varies is in the configuration.

    An image is embedded once (`embed`); then any number of prompts is decoded (`decode`).

    Args:
      config: sizes and choices.
      dtype: precision of the computation (float32 or bfloat16); parameters are float32, and so is
        what is returned.
      rngs: for the initial weights.
    """

    IMAGE_TOWER = "encoder"
    LORA_TARGETS = ("attn.qkv", "attn.proj")  # as in SAMed (Zhang & Liu 2023)

    def __init__(self, config: PromptedConfig, *, dtype=None, rngs: nnx.Rngs):
        self.config = config
        self.encoder: Any = ENCODERS[type(config.encoder)](config.encoder, dtype=dtype, rngs=rngs)
        self.prompts = PromptEncoder(config.decoder, dtype=dtype, rngs=rngs)
        self.decoder = MaskDecoder(config.decoder, dtype=dtype, rngs=rngs)
        self.stride = int(self.encoder.stride)  # pixels of the input per cell of the embedding

    @property
    def prompt_format(self) -> SAMPrompts:
        """How prompts become tokens."""
        return SAMPrompts(self.config.decoder)

    @property
    def mask_format(self) -> MaskFormat:
        """How decoded masks become those of an image."""
        c = self.config.decoder
        return MaskFormat(c.mask_space, SPACES[c.mask_space], c.upscale == "input")

    def accepts(self, size: int) -> bool:
        """Says whether the model takes square images of so many pixels per side."""
        return size % self.stride == 0 and size >= 2 * self.stride

    def mask_size(self, size: int) -> int:
        """Gives the side of decoded masks, in pixels, for images of a size."""
        return 4 * (size // self.stride)

    def is_tunable(self, name: str) -> bool:
        """Says whether an array is the mask decoder's, and no part of what embeds images."""
        return name.startswith("decoder.") and not name.startswith(OF_EMBEDDING)

    def with_all_candidates(self) -> SAM:
        """Gives the model that chooses between the masks of ambiguous prompts."""
        module = nnx.merge(*nnx.split(self))
        module.config = override(self.config, {"decoder.multimask": True})
        return module

    def embed(self, images: Float[Array, "b H W c"]) -> Embedding:
        """Embeds preprocessed images, once for any number of prompts."""
        return {"image": self.encoder(images)}

    def propose(
        self, embedding: Embedding, points: Points
    ) -> tuple[Float[Array, "b p m h w"], Float[Array, "b p m"]]:
        """Decodes p prompts of each image: candidate masks and their predicted IoU."""
        return self.candidates(self.decode(embedding, points))

    def decode(
        self, embedding: Embedding, points: Points, masks: Float[Array, "b p H W"] | None = None
    ) -> dict[str, Array]:
        """Decodes all prompts of a batch of images.

        Args:
          embedding: what is known of b images, from `embed`.
          points: p prompts of each image, from `prompt_format`, with the label `ABSENT` where a
            prompt has fewer tokens than the others.
          masks: logits that accompany the prompts, four times as fine as the image embedding.

        Returns:
          See `MaskDecoder`.
        """
        image = embedding["image"]
        b, h, w, _ = image.shape
        stride = self.stride
        p = points.labels.shape[1] if masks is None else masks.shape[1]
        labels = jnp.broadcast_to(points.labels, (b, p, points.labels.shape[2]))
        coords = jnp.broadcast_to(points.coords, (*labels.shape, 2))
        sparse = self.prompts.sparse(Points(coords, labels), h * stride, w * stride)
        dense = self.prompts.dense(masks, h, w)
        skips = tuple(embedding[name] for name in ("stride8", "stride4") if name in embedding)
        return self.decoder(image, self.prompts.grid(h, w), sparse, dense, labels != ABSENT, skips)

    def candidates(
        self, decoded: dict[str, Array]
    ) -> tuple[Float[Array, "b p m h w"], Float[Array, "b p m"]]:
        """The masks that the model's own inference chooses from, with their predicted IoU."""
        several = self.config.decoder.multimask
        masks, iou = decoded["masks"], decoded["iou"]
        return (masks[:, :, 1:], iou[:, :, 1:]) if several else self.single(decoded)

    def single(
        self, decoded: dict[str, Array]
    ) -> tuple[Float[Array, "b p 1 h w"], Float[Array, "b p 1"]]:
        """Mask 0, or the best of the others where that is configured and mask 0 is not stable."""
        masks, iou = decoded["masks"], decoded["iou"]
        if self.config.decoder.stability is None:
            return masks[:, :, :1], iou[:, :, :1]
        return stable_or_best(masks, iou, *self.config.decoder.stability)

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> the encoder's feature, averaged over the grid."""
        return self.encoder.encode_image(images)

    def probe_features(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """The feature that a linear probe is trained on: here the pooled one."""
        return self.encode_image(images)


class SAM2(SAM):
    """SAM 2 on single images: no memory of other frames, and finer features for the decoder."""

    def __init__(self, config: PromptedConfig, *, dtype=None, rngs: nnx.Rngs):
        super().__init__(config, dtype=dtype, rngs=rngs)
        # In place of what a memory would add.
        self.no_memory = nnx.Param(jnp.zeros((config.decoder.width,)))

    def accepts(self, size: int) -> bool:
        """Says whether this is the size that the encoder's positions are made for."""
        return size == self.config.image_size

    def embed(self, images: Float[Array, "b H W c"]) -> Embedding:
        """Preprocessed images -> embedding (stride 16) and finer features (8 and 4)."""
        stride4, stride8, stride16 = self.encoder.pyramid(images)[:3]
        embedding = {
            "image": stride16 + self.no_memory[...],
            "stride8": self.decoder.skip8(stride8),
            "stride4": self.decoder.skip4(stride4),
        }
        return {name: x.astype(jnp.float32) for name, x in embedding.items()}

    def encode_image(self, images: Float[Array, "b H W c"]) -> Float[Array, "b d"]:
        """Preprocessed images -> the image embedding, averaged over the grid."""
        return self.embed(images)["image"].mean(axis=(1, 2))


def stability(masks: Float[Array, "*s h w"], delta: float) -> Float[Array, "*s"]:
    """IoU of a mask cut at +delta with itself cut at −delta; 1 where both are empty."""
    inner, outer = ((masks > cut).sum(axis=(-2, -1)) for cut in (delta, -delta))
    return jnp.where(outer > 0, inner / jnp.maximum(outer, 1), 1.0)


def stable_or_best(
    masks: Float[Array, "*s m h w"], iou: Float[Array, "*s m"], delta: float, threshold: float
) -> tuple[Float[Array, "*s 1 h w"], Float[Array, "*s 1"]]:
    """Takes mask 0 if it is stable, else the other with the highest predicted IoU (SAM 2)."""
    best = 1 + jnp.argmax(iou[..., 1:], axis=-1, keepdims=True)
    stable: Bool[Array, "*s 1"] = stability(masks[..., :1, :, :], delta) >= threshold
    chosen = jnp.where(stable, 0, best)
    return jnp.take_along_axis(masks, chosen[..., None, None], axis=-3), jnp.take_along_axis(
        iou, chosen, axis=-1
    )
