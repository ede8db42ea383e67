"""TinyViT, MobileSAM's image encoder."""

from __future__ import annotations

import dataclasses

from fairjax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """TinyViT as MobileSAM uses it: convolutions, windowed attention, and SAM's neck.

    The tuples have one entry per stage; the first stage has neither heads nor windows, and its
    entries are ignored.
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
    # The features that are averaged for probing: the output of the "neck" or of the "stages".
    pool: str = "neck"

    def __post_init__(self):
        stages = {
            name: len(getattr(self, name)) for name in ("embed_dims", "depths", "heads", "windows")
        }
        if len(set(stages.values())) > 1 or min(stages.values()) < 2:
            raise UserError(
                f"architecture: the entries per stage differ, or are fewer than 2: {stages}"
            )
        for width, heads in zip(self.embed_dims[1:], self.heads[1:]):
            if heads < 1 or width % heads:
                raise UserError(f"architecture: width {width} is not divisible by {heads} heads")

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.neck_dim if self.pool == "neck" else self.embed_dims[-1]
