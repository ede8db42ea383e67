"""Swin, the vision transformer of shifted windows."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.transformer import check_positive
from fairjax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Swin (Liu et al. 2021): stages of windowed attention that halve the grid."""

    image_size: int
    patch_size: int
    embed_dim: int  # width of the first stage
    depths: tuple[int, ...]  # per stage
    heads: tuple[int, ...]  # per stage
    window: int  # side of the attention windows, in tokens
    in_channels: int = 3
    mlp_ratio: float = 4.0
    activation: str = "gelu"
    norm_eps: float = 1e-5

    def __post_init__(self):
        check_positive(self, "image_size", "patch_size", "embed_dim", "window", "in_channels")
        if len(self.depths) != len(self.heads) or not self.depths:
            raise UserError(
                f"architecture: depths {self.depths} and heads {self.heads} "
                f"differ in the number of stages"
            )
        for width, heads in zip(self.widths, self.heads):
            if heads < 1 or width % heads:
                raise UserError(f"architecture: width {width} is not divisible by {heads} heads")

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each stage."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.depths)))

    @property
    def width(self) -> int:
        """Width of the last stage, and of the pooled feature."""
        return self.widths[-1]
