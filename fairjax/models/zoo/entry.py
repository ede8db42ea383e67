"""What a row of the zoo says about a foundation model, and the constants that rows share."""

from __future__ import annotations

import dataclasses
from typing import Any

from fairjax.models.architectures.fields import Architecture
from fairjax.models.preprocess import Preprocess

# Families of the package: the module class that is built from a row's architecture, imported only
# when one is built. A row may name its class by "module:Class" itself.
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
    """How prompts become token ids; their number is the `context_length` of the text tower.

    Attributes:
      name: the published tokenizer.
      kind: a key of `tokenizer.CLASSES`.
      padding: "longest", to the longest prompt of a batch, or "max_length", to the context length.
      masked: whether the text tower knows what is padding.
    """

    name: str
    kind: str
    padding: str = "longest"
    masked: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundationModel:
    """One row of the zoo.

    Attributes:
      name: the key in `MODELS`.
      title: the name as published.
      family: a key of `FAMILIES`, or "module:Class" of a module with `probe_features(images)`.
      architecture: its sizes as published.
      preprocess: the model's own preprocessing.
      usages: what it can do: "linear_probe", "zero_shot", "prompted_segmentation".
      probe_feature: the feature that is linear-probed, in words.
      probe_image_size: pixels per side at which linear probes of it are made, where its own size is
        made for segmentation and not for one vector per image; 0 for its own.
      layouts: names of the converters' rule tables for its published files, the original's first.
      published_file: the name of the file, in words.
      licence: the licence of the weights.
      citation: authors, title, venue.
      tokenizer: the tokenizer of its prompts; None for a model of images alone.
      zero_shot: how zero-shot logits are made of cosines, in words.
      lora_targets: linear layers of the image tower, by the ends of their paths; convnets: none.
    """

    name: str
    title: str
    family: str
    architecture: Architecture
    preprocess: Preprocess
    usages: tuple[str, ...]
    probe_feature: str
    probe_image_size: int = 0
    layouts: tuple[str, ...] = ()
    published_file: str = ""
    licence: str = ""
    citation: str = ""
    tokenizer: TokenizerSpec | None = None
    zero_shot: str = ""
    lora_targets: tuple[str, ...] = ()

    @property
    def context_length(self) -> int | None:
        """The maximum number of tokens of a prompt; None for a model of images alone."""
        text = getattr(self.architecture, "text", None)
        return text.context_length if self.tokenizer is not None and text is not None else None

    def preprocess_for(self, architecture: Architecture) -> Preprocess:
        """The preprocessing for a variant, which may take images of another size."""
        if self.preprocess.size == self.architecture.image_size:
            return self.preprocess.replace(size=architecture.image_size)
        return self.preprocess


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VIT_B: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "mlp_dim": 3072}
# The linear layers of a transformer's block.
LINEAR_LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
