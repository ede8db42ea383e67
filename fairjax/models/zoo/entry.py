"""What a row of the zoo says of a foundation model, and the constants that rows share."""

from __future__ import annotations

import dataclasses
from typing import Any

from fairjax.models.architectures import (
    BLIPConfig,
    ConvNetConfig,
    FunctionConfig,
    ImageTextConfig,
    PromptedConfig,
    SAMViTConfig,
    ViTConfig,
)
from fairjax.models.preprocess import Preprocess

# family -> the module class that is built from the row's architecture (imported only when one is
# built).
FAMILIES = {
    "blip": "fairjax.models.blip:BLIP",
    "blip2": "fairjax.models.blip:BLIP2",
    "clip": "fairjax.models.clip:CLIP",
    "densenet": "fairjax.models.densenet:DenseNet",
    "resnet": "fairjax.models.resnet:ResNet",
    "sam": "fairjax.models.sam.model:SAM",
    "sam2": "fairjax.models.sam.model:SAM2",
    "sam_encoder": "fairjax.models.sam.vit:SAMViT",
    "vit": "fairjax.models.vit:ViT",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How a model's prompts become token ids; their number is the `context_length` of its text
    tower.
    """

    name: str  # the published tokenizer
    kind: str  # a key of tokenizer.CLASSES
    padding: str = (
        "longest"  # to the longest prompt of a batch, or "max_length": to the context length
    )
    masked: bool = True  # the text tower is told what is padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundationModel:
    """One row of the zoo."""

    name: str
    title: str
    family: str  # a key of FAMILIES
    # at the published size
    architecture: (
        ViTConfig
        | ImageTextConfig
        | BLIPConfig
        | ConvNetConfig
        | SAMViTConfig
        | PromptedConfig
        | FunctionConfig
    )
    preprocess: Preprocess  # the model's own
    usages: tuple[str, ...]  # of "linear_probe", "zero_shot", "prompted_segmentation"
    probe_feature: str  # what is linear-probed, for people
    layouts: tuple[
        str, ...
    ] = ()  # names of converters' rule tables for the published files; the first is the original's
    published_file: str = ""
    licence: str = ""
    citation: str = ""
    tokenizer: TokenizerSpec | None = None
    zero_shot: str = ""  # how zero-shot logits are made of cosines, for people
    lora_targets: tuple[
        str, ...
    ] = ()  # linear layers of the image tower, by the ends of their paths; convnets have none

    @property
    def context_length(self) -> int | None:
        """The most tokens of a prompt; None for a model of images alone."""
        text = getattr(self.architecture, "text", None)
        return text.context_length if self.tokenizer is not None and text is not None else None

    def preprocess_for(self, architecture) -> Preprocess:
        """The preprocessing for a variant of the architecture, which may take images of another
        size.
        """
        if self.preprocess.size == self.architecture.image_size:
            return self.preprocess.replace(size=architecture.image_size)
        return self.preprocess


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VIT_B: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "mlp_dim": 3072}
LINEAR_LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # of a transformer's block
