"""SigLIP, as Hugging Face has it (`SiglipModel`: siglip-base-patch16-224, MedSigLIP)."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, linear, norm, rule, under
from fairjax.converters.rules.clip import HF_BLOCK
from fairjax.converters.rules.parts import TEXT, UNSIZED, VISION
from fairjax.converters.transforms import CONV, LINEAR, squeeze

SIGLIP = Layout(
    name="siglip",
    rules=(
        *rule("vision_model.embeddings.patch_embedding.weight", "vision.patch_embed.kernel", CONV),
        *rule("vision_model.embeddings.patch_embedding.bias", "vision.patch_embed.bias"),
        *rule("vision_model.embeddings.position_embedding.weight", "vision.pos_embed"),
        *under("vision_model.encoder.layers.{i}", "vision.encoder.blocks.{i}", HF_BLOCK),
        *norm("vision_model.post_layernorm", "vision.norm"),
        *rule("vision_model.head.probe", "vision.head.probe", squeeze(2)),
        *rule("vision_model.head.attention.in_proj_weight", "vision.head.attn.qkv.kernel", LINEAR),
        *rule("vision_model.head.attention.in_proj_bias", "vision.head.attn.qkv.bias"),
        *linear("vision_model.head.attention.out_proj", "vision.head.attn.proj"),
        *norm("vision_model.head.layernorm", "vision.head.norm"),
        *linear("vision_model.head.mlp.fc1", "vision.head.mlp.fc1"),
        *linear("vision_model.head.mlp.fc2", "vision.head.mlp.fc2"),
        *rule("text_model.embeddings.token_embedding.weight", "text.token_embed.embedding"),
        *rule("text_model.embeddings.position_embedding.weight", "text.pos_embed"),
        *under("text_model.encoder.layers.{i}", "text.encoder.blocks.{i}", HF_BLOCK),
        *norm("text_model.final_layer_norm", "text.norm"),
        *linear("text_model.head", "text_projection"),
        *rule("logit_scale", "logit_scale", squeeze(1)),
        *rule("logit_bias", "logit_bias", squeeze(1)),
    ),
    drops=(
        Drop(
            r"(text|vision)_model\.embeddings\.position_ids", "0, 1, 2, … as some exports keep it"
        ),
    ),
    aliases={
        **VISION,
        **TEXT,
        "v_width": lambda width, given: {"vision.width": width, "embed_dim": width},
        "max_pos": "text.context_length",
    },
    ignored=UNSIZED,
)

LAYOUTS = (SIGLIP,)
