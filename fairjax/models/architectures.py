"""The sizes and choices that define a model, as frozen dataclasses: plain data, importable without jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from fairjax.errors import UserError, did_you_mean

Architecture = TypeVar("Architecture")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A stack of pre-norm blocks: x + attn(norm(x)), then x + mlp(norm(x))."""

    width: int
    depth: int
    heads: int
    mlp_dim: int
    activation: str = "gelu"  # a key of layers.ACTIVATIONS; "gelu" is the exact one
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    layer_scale: float | None = None  # initial value of the per-channel scale of each branch; None: no such scale

    def __post_init__(self):
        if self.width % self.heads:
            raise UserError(f"architecture: width {self.width} is not divisible by {self.heads} heads")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """A vision transformer, from pixels to one pooled vector."""

    image_size: int  # the square input, in pixels, that the position embedding was made for
    patch_size: int
    in_channels: int = 3
    patch_bias: bool = True
    class_token: bool = True
    pre_norm: bool = False  # CLIP's LayerNorm between the embeddings and the first block
    pool: str = "cls"  # a key of vit.POOLS
    # Input sizes other than image_size: None refuses them; a number resizes the position embedding bicubically, by the
    # factor (grid + resize_offset) / stored grid. 0 is the exact ratio, 0.1 what DINOv2's published code does.
    resize_offset: float | None = None

    @property
    def grid(self) -> int:
        """Patches per side at `image_size`."""
        return self.image_size // self.patch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(TransformerConfig):
    """CLIP's causal text transformer."""

    vocab_size: int
    context_length: int
    # The feature is read at the first token with this id; None: at the largest id (end-of-text in OpenAI's code).
    eos_token_id: int | None = None


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


def override(architecture: Architecture, changes: Mapping[str, Any], where: str = "architecture") -> Architecture:
    """Returns a copy of `architecture` with fields replaced; nested fields by nested mappings or by dotted names.

    Raises:
      UserError: for names that are no field, each with the nearest one.
    """
    fields = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(architecture)}  # type: ignore[arg-type]
    flat: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    unknown = []
    for key, value in changes.items():
        head, _, tail = key.partition(".")
        if head not in fields or (tail and not dataclasses.is_dataclass(fields[head])):
            unknown.append(f"{key!r}{did_you_mean(head, fields)}")
        elif tail:
            nested.setdefault(head, {})[tail] = value
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(fields[head]):
            nested.setdefault(head, {}).update(value)
        else:
            flat[key] = tuple(value) if isinstance(value, list) else value
    if unknown:
        raise UserError(f"unknown field in {where}: {'; '.join(unknown)}")
    for key, value in nested.items():
        flat[key] = override(fields[key], value, f"{where}.{key}")
    return dataclasses.replace(architecture, **flat)  # type: ignore[type-var]
