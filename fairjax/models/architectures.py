"""The sizes and choices that define a model, as frozen dataclasses: plain data, importable without jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from fairjax.errors import UserError, did_you_mean

Architecture = TypeVar("Architecture")  # or any other frozen dataclass of plain values


def _check_positive(config, *names: str) -> None:
    """Refuses sizes below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise UserError(f"architecture: {name} is {getattr(config, name)}, but must be at least 1")


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
        _check_positive(self, "width", "depth", "heads", "mlp_dim")
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

    def __post_init__(self):
        super().__post_init__()
        _check_positive(self, "image_size", "patch_size", "in_channels", "grid")

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.width * (2 if self.pool == "cls_mean" else 1)

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

    def __post_init__(self):
        super().__post_init__()
        _check_positive(self, "vocab_size", "context_length")


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """TinyViT as MobileSAM uses it: a stage of inverted bottlenecks, stages of windowed attention, and SAM's neck.

    The tuples have one entry per stage; the first stage has neither heads nor windows, and its entries are ignored.
    """

    image_size: int
    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]  # side of the attention windows, in tokens
    in_channels: int = 3
    mlp_ratio: float = 4.0
    expand_ratio: float = 4.0  # of the inverted bottlenecks
    local_kernel: int = 3  # of the depthwise convolution in each attention block
    last_stride: int = 1  # of the last patch merging; the others have 2
    norm_eps: float = 1e-5
    batch_norm_eps: float = 1e-5
    neck_dim: int = 256
    neck_norm_eps: float = 1e-6
    pool: str = "neck"  # what is averaged over the grid for probing: the "neck"'s output or the last of the "stages"

    def __post_init__(self):
        stages = {name: len(getattr(self, name)) for name in ("embed_dims", "depths", "heads", "windows")}
        if len(set(stages.values())) > 1 or min(stages.values()) < 2:
            raise UserError(f"architecture: the entries per stage differ, or are fewer than 2: {stages}")
        for width, heads in zip(self.embed_dims[1:], self.heads[1:]):
            if heads < 1 or width % heads:
                raise UserError(f"architecture: width {width} is not divisible by {heads} heads")

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.neck_dim if self.pool == "neck" else self.embed_dims[-1]


def from_dict(cls: type[Architecture], values: Mapping[str, Any], where: str = "architecture") -> Architecture:
    """Builds a configuration (of any dataclass here) from JSON values, checking names and types.

    Raises:
      UserError: names every field that is unknown, missing or of a wrong type.
    """
    types = get_type_hints(cls)
    required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}  # type: ignore[arg-type]
    faults = [f"{where}.{name} is unknown{did_you_mean(name, types)}" for name in values if name not in types]
    faults += [f"{where}.{name} is missing" for name in sorted(required - set(values))]
    built: dict[str, Any] = {}
    for name, kind in types.items():
        if name not in values:
            continue
        value = values[name]
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            try:
                built[name] = from_dict(kind, value, f"{where}.{name}")  # type: ignore[arg-type]
            except UserError as error:
                faults.append(str(error))
            continue
        built[name] = tuple(value) if isinstance(value, list) else value
        if not _fits(built[name], kind):
            faults.append(f"{where}.{name} must be {getattr(kind, '__name__', kind)}, not {value!r}")
    if faults:
        raise UserError("; ".join(faults))
    return cls(**built)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(item, inner) for item in value)
    if args := get_args(kind):
        return any(_fits(value, arg) for arg in args)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def override(architecture: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """Returns a copy of `architecture` with fields replaced, nested ones by nested mappings or by dotted names."""
    merged = dataclasses.asdict(architecture)  # type: ignore[call-overload]
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        inner = merged
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if isinstance(value, Mapping) and isinstance(inner.get(leaf), dict):
            inner[leaf].update(value)
        else:
            inner[leaf] = value
    return from_dict(type(architecture), merged)
