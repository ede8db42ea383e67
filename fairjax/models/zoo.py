"""The table of foundation models: everything else reads what it needs to know about a model from its row here."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from fairjax.models.architectures import CLIPConfig, CLIPTextConfig, TinyViTConfig, ViTConfig
from fairjax.models.preprocess import Preprocess

# family -> the module class that is built from the row's architecture (imported only when one is built).
FAMILIES = {
    "clip": "fairjax.models.clip:CLIP",
    "tinyvit": "fairjax.models.tinyvit:TinyViT",
    "vit": "fairjax.models.vit:ViT",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundationModel:
    """One row of the zoo."""

    name: str
    title: str
    family: str  # a key of FAMILIES
    architecture: ViTConfig | CLIPConfig | TinyViTConfig  # at the published size
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

CLIP_B32 = CLIPConfig(
    vision=ViTConfig(
        **VIT_B,
        image_size=224,
        patch_size=32,
        patch_bias=False,
        pre_norm=True,
        activation="quick_gelu",
        norm_eps=1e-5,
    ),
    text=CLIPTextConfig(
        width=512,
        depth=12,
        heads=8,
        mlp_dim=2048,
        vocab_size=49408,
        context_length=77,
        activation="quick_gelu",
        norm_eps=1e-5,
    ),
    embed_dim=512,
)
CLIP_PREPROCESS = Preprocess(size=224, mean=CLIP_MEAN, std=CLIP_STD)

DINOV2_B14 = ViTConfig(**VIT_B, image_size=518, patch_size=14, layer_scale=1e-5, resize_offset=0.1)

_ROWS = [
    FoundationModel(
        name="clip",
        title="CLIP ViT-B/32",
        family="clip",
        # FairMedFM's zero-shot classification fixes the scale at 100, the value at which CLIP's training clips it.
        architecture=dataclasses.replace(CLIP_B32, zero_shot_scale=100.0),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        layouts=("clip_openai", "clip_hf"),
        published_file="ViT-B-32.pt, a TorchScript archive",
        licence="MIT",
        citation="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    ),
    FoundationModel(
        name="clip_hf",
        title="CLIP, any Hugging Face CLIPModel",
        family="clip",
        architecture=dataclasses.replace(CLIP_B32, probe="pooled"),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        layouts=("clip_hf", "clip_openai"),
        published_file="openai/clip-vit-base-patch32: model.safetensors or pytorch_model.bin",
        licence="MIT",
        citation="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    ),
    FoundationModel(
        name="pubmedclip",
        title="PubMedCLIP ViT-B/32",
        family="clip",
        # FairMedFM's wrapper divides by CLIP's initial temperature exp(0.07) and multiplies by exp(0.01).
        architecture=dataclasses.replace(CLIP_B32, zero_shot_factor=math.exp(0.01 - 0.07)),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        layouts=("clip_openai", "clip_hf"),
        published_file="PubMedCLIP_ViT32.pth",
        licence="MIT",
        citation="Eslami et al., PubMedCLIP: how much does CLIP benefit visual question answering in the medical "
        "domain?, Findings of EACL 2023",
    ),
    FoundationModel(
        name="plip",
        title="PLIP ViT-B/32",
        family="clip",
        architecture=dataclasses.replace(CLIP_B32, probe="pooled"),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        layouts=("clip_hf", "clip_openai"),
        published_file="vinid/plip: pytorch_model.bin",
        licence="none stated",
        citation="Huang et al., A visual-language foundation model for pathology image analysis using medical Twitter, "
        "Nature Medicine 2023",
    ),
    FoundationModel(
        name="dinov2",
        title="DINOv2 ViT-B/14",
        family="vit",
        architecture=DINOV2_B14,
        preprocess=Preprocess(size=224, crop_fraction=224 / 256, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        usages=("linear_probe",),
        probe_feature="class token after the final norm",
        layouts=("dinov2_hub", "dinov2_hf"),
        published_file="dinov2_vitb14_pretrain.pth",
        licence="Apache-2.0",
        citation="Oquab et al., DINOv2: learning robust visual features without supervision, TMLR 2024",
    ),
    FoundationModel(
        name="rad_dino",
        title="RAD-DINO ViT-B/14",
        family="vit",
        architecture=DINOV2_B14,
        preprocess=Preprocess(size=518, mean=(0.5307,) * 3, std=(0.2583,) * 3),
        usages=("linear_probe",),
        probe_feature="class token after the final norm",
        layouts=("dinov2_hf", "dinov2_hub"),
        published_file="microsoft/rad-dino: model.safetensors",
        licence="MIT (earlier: MSRLA)",
        citation="Perez-Garcia et al., Exploring scalable medical image encoders beyond text supervision, "
        "Nature Machine Intelligence 2025",
    ),
    FoundationModel(
        name="mobile_sam",
        title="MobileSAM (TinyViT encoder)",
        family="tinyvit",
        architecture=TinyViTConfig(
            image_size=1024,
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            heads=(2, 4, 5, 10),
            windows=(7, 7, 14, 7),
        ),
        preprocess=Preprocess(
            size=1024,
            resize="longest",
            interpolation="bilinear",
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
        usages=("linear_probe",),
        probe_feature="image embedding (after the neck), averaged over the grid",
        layouts=("mobile_sam",),
        published_file="mobile_sam.pt",
        licence="Apache-2.0",
        citation="Zhang et al., Faster Segment Anything: towards lightweight SAM for mobile applications, 2023",
    ),
    FoundationModel(
        name="phantom_vit",
        title="The small ViT that ships with fairjax",
        family="vit",
        architecture=ViTConfig(
            image_size=64,
            patch_size=8,
            width=96,
            depth=4,
            heads=3,
            mlp_dim=384,
            class_token=False,
            pool="mean",
            resize_offset=0.0,
        ),
        preprocess=Preprocess(size=64, resize="squash", interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3),
        usages=("linear_probe",),
        probe_feature="average of the patch tokens after the final norm",
        published_file="inside the package",
        licence="Apache-2.0",
        citation="trained by foreign patch interpolation: Tan et al., MELBA 2022",
    ),
]

MODELS: dict[str, FoundationModel] = {row.name: row for row in _ROWS}
