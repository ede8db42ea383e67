"""What a row of the zoo says of a foundation model, and the constants that rows share."""

from __future__ import annotations

import dataclasses
from typing import Any

from fairjax.models.architectures import CLIPConfig, PromptedConfig, SAMViTConfig, ViTConfig
from fairjax.models.preprocess import Preprocess

# family -> the module class that is built from the row's architecture (imported only when one is built).
FAMILIES = {
    "clip": "fairjax.models.clip:CLIP",
    "sam": "fairjax.models.sam.model:SAM",
    "sam2": "fairjax.models.sam.model:SAM2",
    "sam_encoder": "fairjax.models.sam.vit:SAMViT",
    "vit": "fairjax.models.vit:ViT",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundationModel:
    """One row of the zoo."""

    name: str
    title: str
    family: str  # a key of FAMILIES
    architecture: ViTConfig | CLIPConfig | SAMViTConfig | PromptedConfig  # at the published size
    preprocess: Preprocess  # the model's own
    usages: tuple[str, ...]  # of "linear_probe", "zero_shot", "prompted_segmentation"
    probe_feature: str  # what is linear-probed, for people
    layouts: tuple[
        str, ...
    ] = ()  # names of converters' rule tables for the published files; the first is the original's
    published_file: str = ""
    licence: str = ""
    citation: str = ""

    def preprocess_for(self, architecture) -> Preprocess:
        """The preprocessing for a variant of the architecture, which may take images of another size."""
        if self.preprocess.size == self.architecture.image_size:
            return self.preprocess.replace(size=architecture.image_size)
        return self.preprocess


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VIT_B: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "mlp_dim": 3072}
