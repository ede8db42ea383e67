"""BLIP, as Hugging Face (`BlipForImageTextRetrieval`) and LAVIS have it."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, linear, norm, rule, under
from fairjax.converters.rules.parts import (
    BERT,
    TEXT,
    UNSIZED,
    VISION,
    bounded_context,
    mlp_of,
    timm_vit,
)
from fairjax.converters.transforms import CONV, squeeze

_HF_BLOCK = (
    *norm("layer_norm1", "norm1"),
    *linear("self_attn.qkv", "attn.qkv"),
    *linear("self_attn.projection", "attn.proj"),
    *norm("layer_norm2", "norm2"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)

HF_VISION = (
    *rule("embeddings.class_embedding", "cls_token", squeeze(2)),
    *rule("embeddings.position_embedding", "pos_embed", squeeze(1)),
    *rule("embeddings.patch_embedding.weight", "patch_embed.kernel", CONV),
    *rule("embeddings.patch_embedding.bias", "patch_embed.bias"),
    *under("encoder.layers.{i}", "encoder.blocks.{i}", _HF_BLOCK),
    *norm("post_layernorm", "norm"),
)
POSITION_IDS = "0, 1, 2, … as older transformers saved it"
_ALIASES = {**VISION, **TEXT, "max_pos": bounded_context(), "proj": "embed_dim"}

HF = Layout(
    name="blip_hf",
    rules=(
        *under("vision_model", "vision", HF_VISION),
        *under("text_encoder", "text", BERT),
        *linear("vision_proj", "visual_projection"),
        *linear("text_proj", "text_projection"),
        *linear("itm_head", "matching"),
    ),
    drops=(Drop(r"text_encoder\.embeddings\.position_ids", POSITION_IDS),),
    aliases=_ALIASES,
    ignored=UNSIZED,
)

LAVIS = Layout(
    name="blip_lavis",
    rules=(
        *under("visual_encoder", "vision", (*timm_vit(), *norm("norm", "norm"))),
        *under("text_encoder", "text", BERT),
        *linear("vision_proj", "visual_projection"),
        *linear("text_proj", "text_projection"),
        *rule("temp", "temperature"),
    ),
    drops=(
        Drop(r"text_encoder\.embeddings\.position_ids", POSITION_IDS),
        Drop(
            r"itm_head\..*|text_decoder\..*",
            "for pretraining: LAVIS' feature extractor has no such head",
        ),
        Drop(
            r"(\w+_m\.|image_queue|text_queue|queue_ptr|ptr_queue).*",
            "momentum copies and queues of the pretraining",
        ),
    ),
    keys=("model", "state_dict"),
    aliases={**_ALIASES, "v_width": mlp_of("vision")},
    ignored=UNSIZED,
)

LAYOUTS = (HF, LAVIS)
