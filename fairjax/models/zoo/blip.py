"""BLIP and BLIP-2: a ViT, and a BERT that can also attend to the image."""

from __future__ import annotations

import dataclasses

from fairjax.models.architectures import BERTConfig, BLIPConfig, ViTConfig
from fairjax.models.zoo.entry import LINEAR_LAYERS, VIT_B, FoundationModel, TokenizerSpec
from fairjax.models.zoo.image_text import CLIP_PREPROCESS, VIT_B16

# LAVIS resizes position embeddings to the model's grid as it loads them; Hugging Face's classes do
# not.
BLIP_B16 = BLIPConfig(
    vision=dataclasses.replace(VIT_B16, resize_offset=0.0),
    text=BERTConfig(
        **VIT_B, vocab_size=30524, positions=512, context_length=512, token_types=0, cross_every=1
    ),
    embed_dim=256,
    temperature=True,
    matching=False,
)
BLIP2_G14 = BLIPConfig(
    # EVA's ViT-g without its last layer.
    vision=ViTConfig(
        width=1408,
        depth=39,
        heads=16,
        mlp_dim=6144,
        image_size=224,
        patch_size=14,
        final_norm_eps=1e-5,
        resize_offset=0.0,
    ),
    text=BERTConfig(
        **VIT_B,
        vocab_size=30523,
        positions=512,
        context_length=512,
        token_types=0,
        cross_every=2,
        queries=32,
    ),
    embed_dim=256,
    temperature=True,
)
BLIP_PREPROCESS = CLIP_PREPROCESS.replace(resize="squash")
BERT_UNCASED = TokenizerSpec(name="bert-base-uncased", kind="bert")
BLIP_CITATION = (
    "Li et al., BLIP: bootstrapping language-image pre-training for unified vision-language "
    "understanding and generation, ICML 2022"
)
BLIP2_CITATION = (
    "Li et al., BLIP-2: bootstrapping language-image pre-training with frozen image encoders "
    "and large language models, ICML 2023"
)

ROWS = (
    FoundationModel(
        name="blip",
        title="BLIP ViT-B/16, Hugging Face's",
        family="blip",
        architecture=dataclasses.replace(
            BLIP_B16,
            vision=dataclasses.replace(VIT_B16, image_size=384, norm_eps=1e-5),
            temperature=False,
            matching=True,
        ),
        preprocess=BLIP_PREPROCESS.replace(size=384),
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        tokenizer=BERT_UNCASED,
        zero_shot="cos",
        lora_targets=LINEAR_LAYERS,
        layouts=("blip_hf",),
        published_file="Salesforce/blip-itm-base-coco: model.safetensors or pytorch_model.bin",
        licence="BSD-3-Clause",
        citation=BLIP_CITATION,
    ),
    FoundationModel(
        name="blip_lavis",
        title="BLIP ViT-B/16, LAVIS'",
        family="blip",
        architecture=BLIP_B16,
        preprocess=BLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="class token after the final norm",
        tokenizer=BERT_UNCASED,
        zero_shot="cos / temp",
        lora_targets=LINEAR_LAYERS,
        layouts=("blip_lavis",),
        published_file="model_base_capfilt_large.pth",
        licence="BSD-3-Clause",
        citation=BLIP_CITATION,
    ),
    FoundationModel(
        name="blip2",
        title="BLIP-2 ViT-g/14, Hugging Face's",
        family="blip2",
        architecture=dataclasses.replace(
            BLIP2_G14,
            vision=dataclasses.replace(BLIP2_G14.vision, final_norm_eps=None, resize_offset=None),
            temperature=False,
        ),
        preprocess=BLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="first query of the Q-Former",
        tokenizer=BERT_UNCASED,
        zero_shot="max over queries of cos",
        lora_targets=LINEAR_LAYERS,
        layouts=("blip2_hf",),
        published_file="Salesforce/blip2-itm-vit-g: model.safetensors, sharded",
        licence="MIT",
        citation=BLIP2_CITATION,
    ),
    FoundationModel(
        name="blip2_lavis",
        title="BLIP-2 ViT-g/14, LAVIS'",
        family="blip2",
        architecture=BLIP2_G14,
        preprocess=BLIP_PREPROCESS,
        usages=("linear_probe", "zero_shot"),
        probe_feature="first query of the Q-Former",
        tokenizer=BERT_UNCASED,
        zero_shot="max over queries of cos / temp",
        lora_targets=LINEAR_LAYERS,
        layouts=("blip2_lavis",),
        published_file="eva_vit_g.pth and blip2_pretrained.pth",
        licence="BSD-3-Clause",
        citation=BLIP2_CITATION,
    ),
)
