"""Models of images alone."""

from __future__ import annotations

from typing import Any

from fairjax.models.architectures import DenseNetConfig, ResNetConfig, ViTConfig
from fairjax.models.preprocess import Preprocess
from fairjax.models.zoo.entry import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LINEAR_LAYERS,
    VIT_B,
    FoundationModel,
)

DINOV2_B14 = ViTConfig(**VIT_B, image_size=518, patch_size=14, layer_scale=1e-5, resize_offset=0.1)

IMAGENET_PREPROCESS = Preprocess(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
RESNET18: dict[str, Any] = {"image_size": 224, "layers": (2, 2, 2, 2)}
MOCO_CXR_CITATION = (
    "Sowrirajan et al., MoCo-CXR: MoCo pretraining improves representation and transferability "
    "of chest X-ray models, MIDL 2021"
)

ROWS = (
    FoundationModel(
        name="dinov2",
        title="DINOv2 ViT-B/14",
        family="vit",
        architecture=DINOV2_B14,
        preprocess=Preprocess(
            size=224, crop_fraction=224 / 256, mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        usages=("linear_probe",),
        probe_feature="class token after the final norm",
        lora_targets=LINEAR_LAYERS,
        layouts=("dinov2_hub", "dinov2_hf"),
        published_file="dinov2_vitb14_pretrain.pth",
        licence="Apache-2.0",
        citation="Oquab et al., DINOv2: learning robust visual features without supervision, "
        "TMLR 2024",
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
        citation="Perez-Garcia et al., Exploring scalable medical image encoders beyond text "
        "supervision, Nature Machine Intelligence 2025",
    ),
    FoundationModel(
        name="medmae",
        title="MedMAE ViT-B/16, chest radiographs",
        family="vit",
        architecture=ViTConfig(**VIT_B, image_size=224, patch_size=16),
        preprocess=Preprocess(size=224, mean=(0.5056,) * 3, std=(0.252,) * 3),
        usages=("linear_probe",),
        probe_feature="class token after the final norm",
        lora_targets=LINEAR_LAYERS,
        layouts=("medmae",),
        published_file="vit-b_CXR_0.5M_mae.pth",
        licence="none stated",
        citation="Xiao et al., Delving into masked autoencoders for multi-label thorax disease "
        "classification, WACV 2023",
    ),
    FoundationModel(
        name="lvm_med_resnet50",
        title="LVM-Med ResNet-50",
        family="resnet",
        architecture=ResNetConfig(image_size=224, layers=(3, 4, 6, 3), block="bottleneck"),
        preprocess=IMAGENET_PREPROCESS,
        usages=("linear_probe",),
        probe_feature="average of the last feature grid",
        layouts=("resnet_torchvision",),
        published_file="lvmmed_resnet.torch",
        licence="MIT",
        citation="Nguyen et al., LVM-Med: learning large-scale self-supervised vision models "
        "for medical imaging via second-order graph matching, NeurIPS 2023",
    ),
    FoundationModel(
        name="moco_cxr",
        title="MoCo-CXR ResNet-18",
        family="resnet",
        architecture=ResNetConfig(**RESNET18, projection=(512, 128)),
        preprocess=IMAGENET_PREPROCESS,
        usages=("linear_probe",),
        # FairMedFM probes a projection of this feature whose weights are random and not seeded.
        probe_feature="average of the last feature grid",
        layouts=("moco_resnet", "moco_resnet_linear"),
        published_file="r8w-00001-v2.pth.tar",
        licence="none stated",
        citation=MOCO_CXR_CITATION,
    ),
    FoundationModel(
        name="moco_cxr_densenet121",
        title="MoCo-CXR DenseNet-121",
        family="densenet",
        architecture=DenseNetConfig(image_size=224, layers=(6, 12, 24, 16), projection=(1024, 128)),
        preprocess=IMAGENET_PREPROCESS,
        usages=("linear_probe",),
        probe_feature="average of the last feature grid",
        layouts=("moco_densenet", "moco_densenet_linear"),
        published_file="a .pth.tar of MoCo-CXR's training code with --arch densenet121",
        licence="none stated",
        citation=MOCO_CXR_CITATION,
    ),
    FoundationModel(
        name="c2l",
        title="C2L ResNet-18",
        family="resnet",
        architecture=ResNetConfig(
            **RESNET18, projection=(128,), normalize=True, fixed_grid=7, probe="projected"
        ),
        preprocess=IMAGENET_PREPROCESS,
        usages=("linear_probe",),
        probe_feature="projected feature, of length 1",
        layouts=("c2l",),
        published_file="res18_C2L.pth",
        licence="none stated",
        citation="Zhou et al., Comparing to learn: surpassing ImageNet pretraining on "
        "radiographs by comparing image representations, MICCAI 2020",
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
        preprocess=Preprocess(
            size=64, resize="squash", interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        usages=("linear_probe",),
        probe_feature="average of the patch tokens after the final norm",
        lora_targets=LINEAR_LAYERS,
        published_file="inside the package",
        licence="Apache-2.0",
        citation="trained by foreign patch interpolation: Tan et al., MELBA 2022",
    ),
)
