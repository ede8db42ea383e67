"""Models that segment what a prompt points at, and those made of their image encoders."""

from __future__ import annotations

import dataclasses
from typing import Any

from fairjax.models.architectures import (
    HieraConfig,
    MaskDecoderConfig,
    MobileSAMConfig,
    SAM2Config,
    SAMConfig,
    SAMViTConfig,
    TinyViTConfig,
)
from fairjax.models.preprocess import Preprocess
from fairjax.models.zoo.entry import IMAGENET_MEAN, IMAGENET_STD, LINEAR_LAYERS, FoundationModel

VIT_B = SAMViTConfig(image_size=1024, width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
VIT_L = SAMViTConfig(image_size=1024, width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = SAMViTConfig(image_size=1024, width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))
TINY_VIT_5M = TinyViTConfig(
    image_size=1024,
    embed_dims=(64, 128, 160, 320),
    depths=(2, 2, 6, 2),
    heads=(2, 4, 5, 10),
    windows=(7, 7, 14, 7),
)
HIERA_TINY = HieraConfig(
    image_size=1024,
    width=96,
    heads=1,
    depths=(1, 2, 7, 2),
    windows=(8, 4, 14, 7),
    global_blocks=(5, 7, 9),
    background_grid=(7, 7),
)
DECODER = MaskDecoderConfig()

SAM_PREPROCESS = Preprocess(
    size=1024,
    resize="longest",
    interpolation="bilinear",
    scale=1.0,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
)
MED2D_PREPROCESS = SAM_PREPROCESS.replace(size=256, resize="squash", interpolation="nearest_floor")

_SAM: dict[str, Any] = {
    "family": "sam",
    "preprocess": SAM_PREPROCESS,
    "usages": ("linear_probe", "prompted_segmentation"),
    "probe_feature": "image embedding (after the neck), averaged over the grid",
    "lora_targets": LINEAR_LAYERS,
    "layouts": ("sam",),
    "licence": "Apache-2.0",
    "citation": "Kirillov et al., Segment Anything, ICCV 2023",
}
_MED2D: dict[str, Any] = _SAM | {
    "preprocess": MED2D_PREPROCESS,
    "citation": "Cheng et al., SAM-Med2D, 2023",
}
_MOBILE: dict[str, Any] = _SAM | {
    "architecture": MobileSAMConfig(encoder=TINY_VIT_5M, decoder=DECODER),
    "layouts": ("mobile_sam",),
}

ROWS = (
    FoundationModel(
        name="sam",
        title="SAM ViT-B",
        architecture=SAMConfig(encoder=VIT_B, decoder=DECODER),
        published_file="sam_vit_b_01ec64.pth",
        **_SAM,
    ),
    FoundationModel(
        name="sam_l",
        title="SAM ViT-L",
        architecture=SAMConfig(encoder=VIT_L, decoder=DECODER),
        published_file="sam_vit_l_0b3195.pth",
        **_SAM,
    ),
    FoundationModel(
        name="sam_h",
        title="SAM ViT-H",
        architecture=SAMConfig(encoder=VIT_H, decoder=DECODER),
        published_file="sam_vit_h_4b8939.pth",
        **_SAM,
    ),
    FoundationModel(
        name="medsam",
        title="MedSAM ViT-B",
        architecture=SAMConfig(
            encoder=VIT_B,
            decoder=dataclasses.replace(
                DECODER, multimask=False, upscale="direct", mask_space="probabilities"
            ),
        ),
        **_SAM
        | {
            "preprocess": Preprocess(
                size=1024,
                resize="squash",
                interpolation="cubic_spline",
                scale=1.0,
                mean=(0.0,) * 3,
                std=(1.0,) * 3,
                stretch=True,
            ),
            "published_file": "medsam_vit_b.pth",
            "citation": "Ma et al., Segment anything in medical images, Nature Communications 2024",
        },
    ),
    FoundationModel(
        name="ft_sam",
        title="FT-SAM ViT-B",
        architecture=SAMConfig(encoder=dataclasses.replace(VIT_B, image_size=256), decoder=DECODER),
        published_file="ft-sam_b.pth",
        **_MED2D,
    ),
    FoundationModel(
        name="sam_med2d",
        title="SAM-Med2D ViT-B with adapters",
        architecture=SAMConfig(
            encoder=dataclasses.replace(VIT_B, image_size=256, adapter_ratio=0.25), decoder=DECODER
        ),
        published_file="sam-med2d_b.pth",
        **_MED2D,
    ),
    FoundationModel(
        name="mobile_sam",
        title="MobileSAM (TinyViT encoder)",
        probe_image_size=256,
        published_file="mobile_sam.pt",
        **_MOBILE
        | {
            "citation": "Zhang et al., Faster Segment Anything: towards lightweight SAM for "
            "mobile applications, 2023"
        },
    ),
    FoundationModel(
        name="tiny_sam",
        title="TinySAM (TinyViT encoder)",
        published_file="tinysam.pth",
        **_MOBILE
        | {
            "citation": "Shu et al., TinySAM: pushing the envelope for efficient Segment "
            "Anything, AAAI 2025"
        },
    ),
    FoundationModel(
        name="medsam2",
        title="MedSAM2 (SAM 2.1 tiny), single images",
        family="sam2",
        architecture=SAM2Config(
            encoder=HIERA_TINY,
            decoder=dataclasses.replace(
                DECODER,
                iou_sigmoid=True,
                object_score=True,
                skips=True,
                boxes_first=True,
                always_pad=True,
                stability=(0.05, 0.98),
                upscale="direct",
            ),
        ),
        preprocess=Preprocess(
            size=1024,
            resize="squash",
            interpolation="bilinear_float",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        usages=("linear_probe", "prompted_segmentation"),
        probe_feature="image embedding (stride 16), averaged over the grid",
        lora_targets=LINEAR_LAYERS,
        layouts=("sam2",),
        published_file="MedSAM2_latest.pt, sam2.1_hiera_tiny.pt",
        licence="Apache-2.0",
        citation="Ma et al., MedSAM2: segment anything in 3D medical images and videos, 2025; "
        "Ravi et al., SAM 2, 2024",
    ),
    FoundationModel(
        name="lvm_med",
        title="LVM-Med (SAM ViT-B encoder)",
        family="sam_encoder",
        architecture=dataclasses.replace(VIT_B, abs_pos=False, neck_dim=None),
        preprocess=SAM_PREPROCESS,
        usages=("linear_probe",),
        probe_feature="features of the last block (before the neck), averaged over the grid",
        lora_targets=LINEAR_LAYERS,
        layouts=("lvm_med",),
        published_file="lvmmed_vit.pth",
        licence="none stated",
        citation="Nguyen et al., LVM-Med: learning large-scale self-supervised vision models "
        "for medical imaging via second-order graph matching, NeurIPS 2023",
    ),
)
