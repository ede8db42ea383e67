"""Models with an image and a text tower."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from fairjax.models.architectures import (
    BERTConfig,
    BiomedCLIPConfig,
    CLIPConfig,
    CLIPTextConfig,
    MedCLIPConfig,
    SwinConfig,
    ViTConfig,
)
from fairjax.models.preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from fairjax.models.zoo.entry import LINEAR_LAYERS, VIT_B, FoundationModel, TokenizerSpec

# CLIP

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
OPENAI_BPE = TokenizerSpec(
    name="openai/clip-vit-base-patch32", kind="clip", padding="max_length", masked=False
)
LEARNED_SCALE = "exp(logit_scale) · cos"

CLIP_ROWS = (
    FoundationModel(
        name="clip",
        title="CLIP ViT-B/32",
        family="clip",
        # FairMedFM's zero-shot classification fixes the scale at 100, the value at which CLIP's
        # training clips it.
        architecture=dataclasses.replace(CLIP_B32, zero_shot_scale=100.0),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        tokenizer=OPENAI_BPE,
        zero_shot="100 · cos",
        lora_targets=LINEAR_LAYERS,
        layouts=("clip_openai", "clip_hf"),
        published_file="ViT-B-32.pt, a TorchScript archive",
        licence="MIT",
        citation="Radford et al., Learning transferable visual models from natural language "
        "supervision, ICML 2021",
    ),
    FoundationModel(
        name="clip_hf",
        title="CLIP, any Hugging Face CLIPModel",
        family="clip",
        architecture=dataclasses.replace(CLIP_B32, probe="pooled"),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        tokenizer=TokenizerSpec(name="openai/clip-vit-base-patch32", kind="clip"),
        zero_shot=LEARNED_SCALE,
        lora_targets=LINEAR_LAYERS,
        layouts=("clip_hf", "clip_openai"),
        published_file="openai/clip-vit-base-patch32: model.safetensors or pytorch_model.bin",
        licence="MIT",
        citation="Radford et al., Learning transferable visual models from natural language "
        "supervision, ICML 2021",
    ),
    FoundationModel(
        name="pubmedclip",
        title="PubMedCLIP ViT-B/32",
        family="clip",
        # FairMedFM's wrapper divides by CLIP's initial temperature exp(0.07) and multiplies by
        # exp(0.01).
        architecture=dataclasses.replace(CLIP_B32, zero_shot_factor=math.exp(0.01 - 0.07)),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        tokenizer=OPENAI_BPE,
        zero_shot="exp(0.01 − 0.07 + logit_scale) · cos",
        lora_targets=LINEAR_LAYERS,
        layouts=("clip_openai", "clip_hf"),
        published_file="PubMedCLIP_ViT32.pth",
        licence="MIT",
        citation="Eslami et al., PubMedCLIP: how much does CLIP benefit visual question "
        "answering in the medical domain?, Findings of EACL 2023",
    ),
    FoundationModel(
        name="plip",
        title="PLIP ViT-B/32",
        family="clip",
        architecture=dataclasses.replace(CLIP_B32, probe="pooled"),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        tokenizer=TokenizerSpec(name="vinid/plip", kind="clip"),
        zero_shot=LEARNED_SCALE,
        lora_targets=LINEAR_LAYERS,
        layouts=("clip_hf", "clip_openai"),
        published_file="vinid/plip: pytorch_model.bin",
        licence="none stated",
        citation="Huang et al., A visual-language foundation model for pathology image analysis "
        "using medical Twitter, Nature Medicine 2023",
    ),
)

# A BERT next to a ViT or a Swin

VIT_B16 = ViTConfig(**VIT_B, image_size=224, patch_size=16)

BERT_ROWS = (
    FoundationModel(
        name="biomedclip",
        title="BiomedCLIP ViT-B/16",
        family="clip",
        architecture=BiomedCLIPConfig(
            vision=VIT_B16,
            text=BERTConfig(
                **VIT_B, vocab_size=30522, positions=512, context_length=256, pad_token_id=0
            ),
            embed_dim=512,
            text_projection="mlp",
        ),
        preprocess=CLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        tokenizer=TokenizerSpec(
            name="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            kind="bert",
            padding="max_length",
            masked=False,
        ),
        zero_shot=LEARNED_SCALE,
        lora_targets=LINEAR_LAYERS,
        layouts=("biomedclip",),
        published_file="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224: "
        "open_clip_pytorch_model.bin",
        licence="MIT",
        citation="Zhang et al., A multimodal biomedical foundation model trained from fifteen "
        "million image-text pairs, NEJM AI 2025",
    ),
    FoundationModel(
        name="medclip",
        title="MedCLIP Swin-T",
        family="clip",
        architecture=MedCLIPConfig(
            vision=SwinConfig(
                image_size=224,
                patch_size=4,
                embed_dim=96,
                depths=(2, 2, 6, 2),
                heads=(3, 6, 12, 24),
                window=7,
            ),
            text=BERTConfig(
                **VIT_B, vocab_size=28996, positions=512, context_length=77, pool="mean_1_2_last"
            ),
            embed_dim=512,
            logit_scale_range=(0.0, 4.6052),
        ),
        preprocess=Preprocess(
            size=224,
            resize="pad",
            grayscale=True,
            mean=(0.5862785803043838,) * 3,
            std=(0.27950088968644304,) * 3,
        ),
        usages=("linear_probe", "zero_shot"),
        probe_feature="projected image embedding, not normalised",
        tokenizer=TokenizerSpec(name="emilyalsentzer/Bio_ClinicalBERT", kind="bert"),
        zero_shot=LEARNED_SCALE,
        lora_targets=LINEAR_LAYERS,
        layouts=("medclip",),
        published_file="medclip-vit-pretrained.zip: pytorch_model.bin",
        licence="MIT",
        citation="Wang et al., MedCLIP: contrastive learning from unpaired medical images and "
        "text, EMNLP 2022",
    ),
)

# SigLIP

SIGLIP_B16 = CLIPConfig(
    vision=ViTConfig(
        **VIT_B,
        image_size=224,
        patch_size=16,
        activation="gelu_tanh",
        class_token=False,
        pool="map",
    ),
    text=CLIPTextConfig(
        **VIT_B,
        vocab_size=32000,
        context_length=64,
        activation="gelu_tanh",
        causal=False,
        pool="last",
    ),
    embed_dim=768,
    visual_projection="none",
    text_projection="affine",
    logit_bias=True,
)
SO400M: dict[str, Any] = {"width": 1152, "depth": 27, "heads": 16, "mlp_dim": 4304}
SIGLIP_PREPROCESS = Preprocess(size=224, resize="squash")

SIGLIP_ROWS = (
    FoundationModel(
        name="siglip",
        title="SigLIP ViT-B/16",
        family="clip",
        architecture=SIGLIP_B16,
        preprocess=SIGLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="output of the attention pooling, not normalised",
        tokenizer=TokenizerSpec(
            name="google/siglip-base-patch16-224",
            kind="unigram",
            padding="max_length",
            masked=False,
        ),
        zero_shot="exp(logit_scale) · cos + logit_bias",
        lora_targets=LINEAR_LAYERS,
        layouts=("siglip",),
        published_file="google/siglip-base-patch16-224: model.safetensors",
        licence="Apache-2.0",
        citation="Zhai et al., Sigmoid loss for language image pre-training, ICCV 2023",
    ),
    FoundationModel(
        name="medsiglip",
        title="MedSigLIP-448 SO400M/14",
        family="clip",
        architecture=dataclasses.replace(
            SIGLIP_B16,
            vision=dataclasses.replace(SIGLIP_B16.vision, **SO400M, image_size=448, patch_size=14),
            text=dataclasses.replace(SIGLIP_B16.text, **SO400M),
            embed_dim=1152,
        ),
        preprocess=SIGLIP_PREPROCESS.replace(size=448, interpolation="bilinear"),
        usages=("linear_probe", "zero_shot"),
        probe_feature="output of the attention pooling, not normalised",
        tokenizer=TokenizerSpec(
            name="google/medsiglip-448", kind="unigram", padding="max_length", masked=False
        ),
        zero_shot="exp(logit_scale) · cos + logit_bias",
        lora_targets=LINEAR_LAYERS,
        layouts=("siglip",),
        published_file="google/medsiglip-448: model.safetensors",
        licence="Health AI Developer Foundations terms",
        citation="Sellergren et al., MedGemma technical report, 2025",
    ),
)

ROWS = (*CLIP_ROWS, *BERT_ROWS, *SIGLIP_ROWS)
