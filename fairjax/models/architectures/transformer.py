"""Stacks of pre-norm blocks, and the vision transformer."""

from __future__ import annotations

import dataclasses

from fairjax.utils.errors import UserError


def check_positive(config, *names: str) -> None:
    """Refuses sizes below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise UserError(
                f"architecture: {name} is {getattr(config, name)}, but must be at least 1"
            )


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
    # Initial value of the per-channel scale of each branch; None: no such scale.
    layer_scale: float | None = None
    # How it is computed, not what: see stack.Stack.
    scan: bool | None = None
    remat: bool = False

    def __post_init__(self):
        check_positive(self, "width", "depth", "heads", "mlp_dim")
        if self.width % self.heads:
            raise UserError(
                f"architecture: width {self.width} is not divisible by {self.heads} heads"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """A vision transformer, from pixels to one pooled vector."""

    image_size: int  # the square input, in pixels, that the position embedding was made for
    patch_size: int
    in_channels: int = 3
    patch_bias: bool = True
    class_token: bool = True
    pre_norm: bool = False  # CLIP's LayerNorm between the embeddings and the first block
    pool: str = "cls"  # a key of vit.POOLS, or "map": SigLIP's attention pooling
    # Of the norm after the last block, where it differs from norm_eps.
    final_norm_eps: float | None = None
    # Input sizes other than image_size: None refuses them; a number resizes the position embedding
    # bicubically, by the factor (grid + resize_offset) / stored grid. 0 is the exact ratio, 0.1
    # what DINOv2's published code does.
    resize_offset: float | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "image_size", "patch_size", "in_channels", "grid")

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.width * (2 if self.pool == "cls_mean" else 1)

    @property
    def grid(self) -> int:
        """Patches per side at `image_size`."""
        return self.image_size // self.patch_size
