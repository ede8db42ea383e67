"""CLIP, as OpenAI (`ViT-B-32.pt`, PubMedCLIP) and Hugging Face (`CLIPModel`, PLIP) have it."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, fused_linear, linear, norm, rule, under
from fairjax.converters.transforms import CONV, LINEAR

# How the small recordings call the sizes of either layout.
SIZES = {
    "image_size": "vision.image_size",
    "patch": "vision.patch_size",
    "v_layers": "vision.depth",
    "v_heads": "vision.heads",
    "ctx": "text.context_length",
    "vocab": "text.vocab_size",
    "t_layers": "text.depth",
    "t_heads": "text.heads",
}

_OPENAI_BLOCK = (
    *norm("ln_1", "norm1"),
    *rule("attn.in_proj_weight", "attn.qkv.kernel", LINEAR),
    *rule("attn.in_proj_bias", "attn.qkv.bias"),
    *linear("attn.out_proj", "attn.proj"),
    *norm("ln_2", "norm2"),
    *linear("mlp.c_fc", "mlp.fc1"),
    *linear("mlp.c_proj", "mlp.fc2"),
)

OPENAI = Layout(
    name="clip_openai",
    rules=(
        *rule("visual.conv1.weight", "vision.patch_embed.kernel", CONV),
        *rule("visual.class_embedding", "vision.cls_token"),
        *rule("visual.positional_embedding", "vision.pos_embed"),
        *norm("visual.ln_pre", "vision.pre_norm"),
        *under("visual.transformer.resblocks.{i}", "vision.encoder.blocks.{i}", _OPENAI_BLOCK),
        *norm("visual.ln_post", "vision.norm"),
        *rule("visual.proj", "visual_projection.kernel"),
        *rule("token_embedding.weight", "text.token_embed.embedding"),
        *rule("positional_embedding", "text.pos_embed"),
        *under("transformer.resblocks.{i}", "text.encoder.blocks.{i}", _OPENAI_BLOCK),
        *norm("ln_final", "text.norm"),
        *rule("text_projection", "text_projection.kernel"),
        *rule("logit_scale", "logit_scale"),
    ),
    drops=(Drop("input_resolution|context_length|vocab_size", "sizes, repeated as tensors"),),
    aliases={
        **SIZES,
        "embed_dim": "embed_dim",
        "v_width": lambda width, given: {"vision.width": width, "vision.mlp_dim": 4 * width},
        "t_width": lambda width, given: {"text.width": width, "text.mlp_dim": 4 * width},
    },
    ignored=frozenset({"seed", "logit_scale"}),
)

HF_BLOCK = (
    *norm("layer_norm1", "norm1"),
    *fused_linear(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.qkv"),
    *linear("self_attn.out_proj", "attn.proj"),
    *norm("layer_norm2", "norm2"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)

HF = Layout(
    name="clip_hf",
    rules=(
        *rule("vision_model.embeddings.patch_embedding.weight", "vision.patch_embed.kernel", CONV),
        *rule("vision_model.embeddings.class_embedding", "vision.cls_token"),
        *rule("vision_model.embeddings.position_embedding.weight", "vision.pos_embed"),
        *norm("vision_model.pre_layrnorm", "vision.pre_norm"),
        *under("vision_model.encoder.layers.{i}", "vision.encoder.blocks.{i}", HF_BLOCK),
        *norm("vision_model.post_layernorm", "vision.norm"),
        *rule("visual_projection.weight", "visual_projection.kernel", LINEAR),
        *rule("text_model.embeddings.token_embedding.weight", "text.token_embed.embedding"),
        *rule("text_model.embeddings.position_embedding.weight", "text.pos_embed"),
        *under("text_model.encoder.layers.{i}", "text.encoder.blocks.{i}", HF_BLOCK),
        *norm("text_model.final_layer_norm", "text.norm"),
        *rule("text_projection.weight", "text_projection.kernel", LINEAR),
        *rule("logit_scale", "logit_scale"),
    ),
    drops=(
        Drop(
            r"(text|vision)_model\.embeddings\.position_ids",
            "0, 1, 2, … as older transformers saved it",
        ),
    ),
    aliases={
        **SIZES,
        "proj": "embed_dim",
        "v_width": "vision.width",
        "v_inter": "vision.mlp_dim",
        "t_width": "text.width",
        "t_inter": "text.mlp_dim",
        # transformers reads the feature at the largest id where the configuration has this id of
        # old.
        "eos_token_id": lambda eos, given: {"text.eos_token_id": None if eos == 2 else eos},
    },
    ignored=frozenset({"seed", "logit_scale", "pad"}),
)

LAYOUTS = (OPENAI, HF)
