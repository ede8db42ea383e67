"""The sizes and choices that define a model, as frozen dataclasses that need no jax."""

from fairjax.models.architectures.convolutional import ConvNetConfig, DenseNetConfig, ResNetConfig
from fairjax.models.architectures.fields import Architecture, from_dict, override
from fairjax.models.architectures.function import FunctionConfig
from fairjax.models.architectures.image_text import (
    BiomedCLIPConfig,
    BLIPConfig,
    CLIPConfig,
    ImageTextConfig,
    MedCLIPConfig,
)
from fairjax.models.architectures.sam import (
    HieraConfig,
    MaskDecoderConfig,
    MobileSAMConfig,
    PromptedConfig,
    SAM2Config,
    SAMConfig,
    SAMViTConfig,
)
from fairjax.models.architectures.swin import SwinConfig
from fairjax.models.architectures.text import BERTConfig, CLIPTextConfig
from fairjax.models.architectures.tinyvit import TinyViTConfig
from fairjax.models.architectures.transformer import TransformerConfig, ViTConfig

__all__ = [
    "Architecture",
    "BERTConfig",
    "BLIPConfig",
    "BiomedCLIPConfig",
    "CLIPConfig",
    "CLIPTextConfig",
    "ConvNetConfig",
    "DenseNetConfig",
    "FunctionConfig",
    "HieraConfig",
    "ImageTextConfig",
    "MaskDecoderConfig",
    "MedCLIPConfig",
    "MobileSAMConfig",
    "PromptedConfig",
    "ResNetConfig",
    "SAM2Config",
    "SAMConfig",
    "SAMViTConfig",
    "SwinConfig",
    "TinyViTConfig",
    "TransformerConfig",
    "ViTConfig",
    "from_dict",
    "override",
]
