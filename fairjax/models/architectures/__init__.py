"""The sizes and choices that define a model, as frozen dataclasses: plain data, importable without jax."""

from fairjax.models.architectures.clip import CLIPConfig, CLIPTextConfig
from fairjax.models.architectures.convolutional import ConvNetConfig, DenseNetConfig, ResNetConfig
from fairjax.models.architectures.fields import from_dict, override
from fairjax.models.architectures.tinyvit import TinyViTConfig
from fairjax.models.architectures.transformer import TransformerConfig, ViTConfig

__all__ = [
    "CLIPConfig",
    "CLIPTextConfig",
    "ConvNetConfig",
    "DenseNetConfig",
    "ResNetConfig",
    "TinyViTConfig",
    "TransformerConfig",
    "ViTConfig",
    "from_dict",
    "override",
]
