"""Convolutional networks: ResNet and DenseNet."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.transformer import check_positive
from fairjax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvNetConfig:
    """A convolutional encoder: the grid of features is averaged, then projected."""

    image_size: int
    layers: tuple[int, ...]  # blocks of each stage
    in_channels: int = 3
    batch_norm_eps: float = 1e-5
    # Side of the feature grid that the original's pooling window needs; None: any.
    fixed_grid: int | None = None
    # Widths of linear layers after the average, with ReLU between them.
    projection: tuple[int, ...] = ()
    normalize: bool = False  # whether the projected feature has length 1
    probe: str = "pooled"  # which feature is linear-probed: "pooled" or "projected"

    def __post_init__(self):
        check_positive(self, "image_size", "in_channels")
        if min(self.layers, default=0) < 1:
            raise UserError(
                f"architecture: layers is {self.layers}, but must be the blocks of each stage"
            )
        if min((1, *self.projection)) < 1:
            raise UserError(
                f"architecture: projection is {self.projection}, but widths must be at least 1"
            )

    @property
    def width_out(self) -> int:
        """Channels of the feature grid."""
        raise NotImplementedError

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return (
            (self.width_out, *self.projection)[-1] if self.probe == "projected" else self.width_out
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig(ConvNetConfig):
    """ResNet as torchvision has it: stages halve the grid and double the width."""

    # A key of resnet.BLOCKS: "basic" (ResNet-18, -34) or "bottleneck" (-50 and deeper)
    block: str = "basic"
    width: int = 64  # of the first stage
    stem_width: int = 64

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "width", "stem_width")

    @property
    def expansion(self) -> int:
        """Channels that leave a block, per channel within it."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def width_out(self) -> int:
        """Channels of the feature grid."""
        return self.expansion * self.width * 2 ** (len(self.layers) - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseNetConfig(ConvNetConfig):
    """DenseNet as torchvision has it: layers add channels, transitions halve grid and width."""

    growth: int = 32  # channels that a layer adds
    bottleneck: int = 4  # channels between a layer's two convolutions, per channel that it adds
    stem_width: int = 64

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "growth", "bottleneck", "stem_width")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels that leave each block."""
        widths = [self.stem_width + self.layers[0] * self.growth]
        for layers in self.layers[1:]:
            widths.append(widths[-1] // 2 + layers * self.growth)
        return tuple(widths)

    @property
    def width_out(self) -> int:
        """Channels of the feature grid."""
        return self.widths[-1]
