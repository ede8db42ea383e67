"""SAM and its descendants: image encoders, and the decoders that are prompted."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures.tinyvit import TinyViTConfig
from fairjax.models.architectures.transformer import check_positive
from fairjax.utils.errors import UserError, lookup

UPSCALES = ("input", "direct")
# The values in which a mask is upsampled, and the threshold above which it is foreground.
SPACES = {"logits": 0.0, "probabilities": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SAMViTConfig:
    """SAM's image encoder: a ViT with windowed and global attention, and a neck."""

    image_size: int
    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]  # which blocks attend to the whole grid; the others to windows
    window: int = 14  # side of a window, in tokens
    patch_size: int = 16
    in_channels: int = 3
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    abs_pos: bool = True  # whether there is a position embedding, besides the relative ones
    neck_dim: int | None = 256  # None: the blocks' features are the output
    neck_norm_eps: float = 1e-6
    # Hidden / width of SAM-Med2D's adapters next to the MLPs; None: no adapters.
    adapter_ratio: float | None = None
    adapter_norm_eps: float = 1e-5

    def __post_init__(self):
        check_positive(
            self,
            "image_size",
            "width",
            "depth",
            "heads",
            "window",
            "patch_size",
            "in_channels",
            "grid",
        )
        if self.width % self.heads:
            raise UserError(
                f"architecture: width {self.width} is not divisible by {self.heads} heads"
            )
        if self.adapter_ratio is not None and self.grid % 2:
            raise UserError(
                f"architecture: adapters need an even grid, not {self.grid} × {self.grid} patches"
            )

    @property
    def grid(self) -> int:
        """Patches per side at `image_size`."""
        return self.image_size // self.patch_size

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return self.width if self.neck_dim is None else self.neck_dim


@dataclasses.dataclass(frozen=True, kw_only=True)
class HieraConfig:
    """SAM 2's image encoder: Hiera with a feature pyramid."""

    image_size: int
    width: int  # of the first stage; it doubles, as the heads do, from stage to stage
    heads: int  # of the first stage
    depths: tuple[int, ...]  # blocks per stage
    # Side of a window per stage, in tokens; a stage's first block has that of the one before.
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]  # which blocks attend to the whole grid
    background_grid: tuple[int, ...]  # sides of the position embedding that is resized to the grid
    pooled_stages: int = 3  # after how many of the stages the grid is halved
    in_channels: int = 3
    patch_kernel: int = 7
    patch_stride: int = 4
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    neck_dim: int = 256
    # Levels of the pyramid that pass features to the next finer one.
    top_down_levels: tuple[int, ...] = (2, 3)

    def __post_init__(self):
        check_positive(self, "image_size", "width", "heads", "patch_kernel", "patch_stride")
        if len(self.depths) != len(self.windows) or len(self.depths) < 3:
            raise UserError(
                f"architecture: {len(self.depths)} depths, {len(self.windows)} windows; "
                f"give one per stage"
            )
        if self.width % self.heads:
            raise UserError(
                f"architecture: width {self.width} is not divisible by {self.heads} heads"
            )
        if (self.image_size // self.patch_stride) % self.windows[0]:
            raise UserError(
                f"architecture: the grid of {self.image_size} pixels is not one of whole windows"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskDecoderConfig:
    """Prompt encoder and two-way mask decoder."""

    width: int = 256
    depth: int = 2
    heads: int = 8
    mlp_dim: int = 2048
    downsample: int = 2  # width / channels of the attention between tokens and image
    mask_channels: int = 16  # of the convolutions over a mask prompt
    iou_depth: int = 3
    iou_hidden: int = 256
    n_multimask: int = 3
    norm_eps: float = 1e-5
    iou_sigmoid: bool = False
    object_score: bool = False  # whether a token says if the object is there at all (SAM 2)
    skips: bool = False  # whether finer features of the encoder enter the upscaling (SAM 2)
    # Order of tokens: corners, then points (SAM 2), or points, then corners.
    boxes_first: bool = False
    # Whether a padding token ends every prompt (SAM 2), or those without a box.
    always_pad: bool = False
    # Of masks 0 … n_multimask, mask 0 is for prompts that are not ambiguous. The model's own
    # inference chooses between the others by their predicted IoU or, where this is False, takes
    # mask 0.
    multimask: bool = True
    # Mask 0 is replaced by the best other one where its stability is below the threshold: (delta,
    # threshold).
    stability: tuple[float, ...] | None = None
    # Of UPSCALES: low resolution → input → original, or straight to the original size.
    upscale: str = "input"
    mask_space: str = "logits"  # of SPACES

    def __post_init__(self):
        check_positive(
            self, "width", "depth", "heads", "mlp_dim", "downsample", "mask_channels", "iou_depth"
        )
        if self.width % (self.downsample * self.heads) or self.width % 8 or self.mask_channels % 4:
            raise UserError(
                f"architecture: decoder width {self.width} does not fit {self.heads} heads"
            )
        lookup("upscaling", self.upscale, dict.fromkeys(UPSCALES))
        lookup("mask space", self.mask_space, SPACES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptedConfig:
    """An image encoder with the decoder that is prompted on its output."""

    encoder: SAMViTConfig | TinyViTConfig | HieraConfig
    decoder: MaskDecoderConfig

    def __post_init__(self):
        if self.encoder.neck_dim != self.decoder.width:
            raise UserError(
                f"architecture: neck_dim {self.encoder.neck_dim} is not "
                f"decoder.width {self.decoder.width}"
            )

    @property
    def image_size(self) -> int:
        """The square input, in pixels."""
        return self.encoder.image_size

    @property
    def probe_width(self) -> int:
        """Width of the feature that is linear-probed."""
        return getattr(self.encoder, "probe_width", self.decoder.width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SAMConfig(PromptedConfig):
    """SAM, MedSAM, FT-SAM, SAM-Med2D."""

    encoder: SAMViTConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileSAMConfig(PromptedConfig):
    """MobileSAM, TinySAM."""

    encoder: TinyViTConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SAM2Config(PromptedConfig):
    """SAM 2 and MedSAM2, for single images."""

    encoder: HieraConfig
