"""The sizes and choices that define a model, as frozen dataclasses: plain data, importable without jax."""

from fairjax.models.architectures.clip import CLIPConfig, CLIPTextConfig
from fairjax.models.architectures.fields import from_dict, override
from fairjax.models.architectures.sam import (
    HieraConfig,
    MaskDecoderConfig,
    MobileSAMConfig,
    PromptedConfig,
    SAM2Config,
    SAMConfig,
    SAMViTConfig,
)
from fairjax.models.architectures.tinyvit import TinyViTConfig
from fairjax.models.architectures.transformer import TransformerConfig, ViTConfig

__all__ = [
    "CLIPConfig",
    "CLIPTextConfig",
    "HieraConfig",
    "MaskDecoderConfig",
    "MobileSAMConfig",
    "PromptedConfig",
    "SAM2Config",
    "SAMConfig",
    "SAMViTConfig",
    "TinyViTConfig",
    "TransformerConfig",
    "ViTConfig",
    "from_dict",
    "override",
]
