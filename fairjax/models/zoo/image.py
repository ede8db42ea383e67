"""Models of images alone."""

from __future__ import annotations

from fairjax.models.architectures import ViTConfig
from fairjax.models.preprocess import Preprocess
from fairjax.models.zoo.entry import IMAGENET_MEAN, IMAGENET_STD, LINEAR_LAYERS, VIT_B, FoundationModel

DINOV2_B14 = ViTConfig(**VIT_B, image_size=518, patch_size=14, layer_scale=1e-5, resize_offset=0.1)

ROWS = (
    FoundationModel(
        name="dinov2",
        title="DINOv2 ViT-B/14",
        family="vit",
        architecture=DINOV2_B14,
        preprocess=Preprocess(size=224, crop_fraction=224 / 256, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        usages=("linear_probe",),
        probe_feature="class token after the final norm",
        lora_targets=LINEAR_LAYERS,
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
        lora_targets=LINEAR_LAYERS,
        layouts=("dinov2_hf", "dinov2_hub"),
        published_file="microsoft/rad-dino: model.safetensors",
        licence="MIT (earlier: MSRLA)",
        citation="Perez-Garcia et al., Exploring scalable medical image encoders beyond text supervision, "
        "Nature Machine Intelligence 2025",
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
        lora_targets=LINEAR_LAYERS,
        published_file="inside the package",
        licence="Apache-2.0",
        citation="trained by foreign patch interpolation: Tan et al., MELBA 2022",
    ),
)
