"""Models with an image and a text tower."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.swin import SwinConfig
from fairjax.models.architectures.text import BERTConfig, CLIPTextConfig
from fairjax.models.architectures.transformer import ViTConfig
from fairjax.utils.errors import UserError, lookup

# Features that can be linear-probed, and the methods that compute them.
PROBES = {"projected": "encode_image", "pooled": "pool_image"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTextConfig:
    """Two towers, their projections into a joint space, and the scale of zero-shot logits."""

    vision: ViTConfig | SwinConfig
    text: CLIPTextConfig | BERTConfig
    embed_dim: int
    probe: str = "projected"  # which image feature is linear-probed: a key of PROBES
    visual_projection: str = "linear"  # a key of image_text.PROJECTIONS
    text_projection: str = "linear"
    # Logits are cosines times exp(logit_scale), clipped to logit_scale_range if there is one, plus
    # the logit_bias.
    logit_scale_range: tuple[float, ...] | None = None
    logit_bias: bool = False
    # For zero-shot classification the factor is zero_shot_scale or, without one, zero_shot_factor *
    # exp(logit_scale).
    zero_shot_scale: float | None = None
    zero_shot_factor: float = 1.0

    def __post_init__(self):
        lookup("probe feature", self.probe, PROBES)
        for tower, width in (("visual", self.vision.width), ("text", self.text.width)):
            if getattr(self, f"{tower}_projection") == "none" and width != self.embed_dim:
                raise UserError(
                    f"architecture: without {tower}_projection, embed_dim must be {width}, "
                    f"not {self.embed_dim}"
                )

    @property
    def image_size(self) -> int:
        """The square input, in pixels."""
        return self.vision.image_size

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.embed_dim if self.probe == "projected" else self.vision.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPConfig(ImageTextConfig):
    """CLIP and SigLIP."""

    vision: ViTConfig
    text: CLIPTextConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiomedCLIPConfig(ImageTextConfig):
    """CLIP's image tower and a BERT."""

    vision: ViTConfig
    text: BERTConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class MedCLIPConfig(ImageTextConfig):
    """A Swin and a BERT."""

    vision: SwinConfig
    text: BERTConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BLIPConfig:
    """BLIP and BLIP-2: a ViT, and a BERT that can also attend to the image."""

    vision: ViTConfig
    text: BERTConfig
    embed_dim: int
    temperature: bool = False  # logits are cosines divided by a learned temperature
    matching: bool = True  # there is a head that says whether a text fits an image

    @property
    def image_size(self) -> int:
        """The square input, in pixels."""
        return self.vision.image_size

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed: BLIP's class token, BLIP-2's first query."""
        return self.text.width if self.text.queries else self.vision.width
