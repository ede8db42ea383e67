"""Models with an image and a text tower."""

from __future__ import annotations

import dataclasses
import math

from fairjax.models.architectures import CLIPConfig, CLIPTextConfig, ViTConfig
from fairjax.models.preprocess import Preprocess
from fairjax.models.zoo.entry import CLIP_MEAN, CLIP_STD, VIT_B, FoundationModel

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

ROWS = (
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
)
