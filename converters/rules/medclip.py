"""MedCLIP (`medclip-vit`): Hugging Face's Swin and BERT, each under a projection."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, fused_linear, linear, norm, rule, under
from fairjax.converters.rules.parts import BERT, TEXT, UNSIZED, bounded_context
from fairjax.converters.transforms import CONV, LINEAR

_SWIN_BLOCK = (
    *norm("layernorm_before", "norm1"),
    *fused_linear((f"attention.self.{part}" for part in ("query", "key", "value")), "attn.qkv"),
    *linear("attention.output.dense", "attn.proj"),
    *rule("attention.self.relative_position_bias_table", "bias_table"),
    *norm("layernorm_after", "norm2"),
    *linear("intermediate.dense", "mlp.fc1"),
    *linear("output.dense", "mlp.fc2"),
)

SWIN = (
    *rule("embeddings.patch_embeddings.projection.weight", "patch_embed.kernel", CONV),
    *rule("embeddings.patch_embeddings.projection.bias", "patch_embed.bias"),
    *norm("embeddings.norm", "embed_norm"),
    *under("encoder.layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}", _SWIN_BLOCK),
    *rule(
        "encoder.layers.{i}.downsample.reduction.weight",
        "stages.{i}.downsample.reduction.kernel",
        LINEAR,
    ),
    *norm("encoder.layers.{i}.downsample.norm", "stages.{i}.downsample.norm"),
    *norm("layernorm", "norm"),
)

MEDCLIP = Layout(
    name="medclip",
    rules=(
        *under("vision_model.model", "vision", SWIN),
        *rule("vision_model.projection_head.weight", "visual_projection.kernel", LINEAR),
        *under("text_model.model", "text", BERT),
        *rule("text_model.projection_head.weight", "text_projection.kernel", LINEAR),
        *rule("logit_scale", "logit_scale"),
    ),
    drops=(
        Drop(
            r"text_model\.model\.embeddings\.position_ids",
            "0, 1, 2, … as older transformers saved it",
        ),
        Drop(
            r"text_model\.model\.pooler\.dense\.(weight|bias)",
            "BERT's pooler, which MedCLIP does not use",
        ),
        Drop(
            r"vision_model\..*\.relative_position_index", "a constant that older transformers saved"
        ),
    ),
    aliases={
        **TEXT,
        "image_size": "vision.image_size",
        "patch": "vision.patch_size",
        "embed": "vision.embed_dim",
        "depths": "vision.depths",
        "heads": "vision.heads",
        "window": "vision.window",
        "proj": "embed_dim",
        "max_pos": bounded_context(77),
    },
    ignored=UNSIZED,
)

LAYOUTS = (MEDCLIP,)
