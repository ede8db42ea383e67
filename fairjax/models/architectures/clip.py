"""CLIP: an image and a text tower with a joint embedding space."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.transformer import TransformerConfig, ViTConfig, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(TransformerConfig):
    """CLIP's causal text transformer."""

    vocab_size: int
    context_length: int
    # The feature is read at the first token with this id; None: at the largest id (end-of-text in OpenAI's code).
    eos_token_id: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "vocab_size", "context_length")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """Two towers and the linear projections into their joint space."""

    vision: ViTConfig
    text: CLIPTextConfig
    embed_dim: int
    probe: str = "projected"  # which image feature is linear-probed: "projected" (embed_dim) or "pooled" (vision.width)
    # Zero-shot logits are cosines times zero_shot_scale or, where that is None, zero_shot_factor * exp(logit_scale).
    zero_shot_scale: float | None = None
    zero_shot_factor: float = 1.0

    @property
    def image_size(self) -> int:
        """The square input, in pixels."""
        return self.vision.image_size

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.embed_dim if self.probe == "projected" else self.vision.width
