"""BLIP-2's first stage, as Hugging Face (`Blip2ForImageTextRetrieval`) and LAVIS have it."""

from __future__ import annotations

from fairjax.converters.engine import Alias, Drop, Layout, linear, norm, rule, under
from fairjax.converters.rules.blip import HF_VISION, POSITION_IDS
from fairjax.converters.rules.parts import (
    UNSIZED,
    VISION,
    bert_layer,
    bounded_context,
    mlp_of,
    timm_vit,
)
from fairjax.converters.transforms import FUSE_QV, LINEAR, squeeze

_ALIASES: dict[str, Alias] = {
    **VISION,
    "q_width": "text.width",
    "q_layers": "text.depth",
    "q_heads": "text.heads",
    "q_inter": "text.mlp_dim",
    "vocab": "text.vocab_size",
    "max_pos": bounded_context(),
    "queries": "text.queries",
    "xfreq": "text.cross_every",
    "proj": "embed_dim",
}

HF = Layout(
    name="blip2_hf",
    rules=(
        *rule("query_tokens", "text.query_embed", squeeze(1)),
        *under("vision_model", "vision", HF_VISION),
        *rule("embeddings.word_embeddings.weight", "text.token_embed.embedding"),
        *rule("embeddings.position_embeddings.weight", "text.pos_embed"),
        *norm("qformer.layernorm", "text.embed_norm"),
        *under("qformer.encoder.layer.{i}", "text.layers.{i}", bert_layer("attention")),
        *linear("vision_projection", "visual_projection"),
        *linear("text_projection", "text_projection"),
        *linear("itm_head", "matching"),
    ),
    drops=(Drop(r"embeddings\.position_ids", POSITION_IDS),),
    aliases=_ALIASES,
    ignored=UNSIZED,
)

# EVA's attention has biases for queries and values only.
_EVA_BLOCK = (
    *norm("norm1", "norm1"),
    *rule("attn.qkv.weight", "attn.qkv.kernel", LINEAR),
    *rule(("attn.q_bias", "attn.v_bias"), "attn.qkv.bias", FUSE_QV),
    *linear("attn.proj", "attn.proj"),
    *norm("norm2", "norm2"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)

LAVIS = Layout(
    name="blip2_lavis",
    rules=(
        *rule("query_tokens", "text.query_embed", squeeze(1)),
        *under("visual_encoder", "vision", timm_vit(_EVA_BLOCK)),
        *norm("ln_vision", "vision.norm"),
        *rule("Qformer.bert.embeddings.word_embeddings.weight", "text.token_embed.embedding"),
        *rule("Qformer.bert.embeddings.position_embeddings.weight", "text.pos_embed"),
        *norm("Qformer.bert.embeddings.LayerNorm", "text.embed_norm"),
        *under("Qformer.bert.encoder.layer.{i}", "text.layers.{i}", bert_layer()),
        *linear("vision_proj", "visual_projection"),
        *linear("text_proj", "text_projection"),
        *linear("itm_head", "matching"),
        *rule("temp", "temperature"),
    ),
    drops=(
        Drop(r"Qformer\.bert\.embeddings\.position_ids", POSITION_IDS),
        Drop(r"visual_encoder\.blocks\.39\..*", "EVA's last layer, which BLIP-2 leaves out"),
        Drop(
            r"Qformer\.cls\..*",
            "the language model's head, for captions; its decoder is tied to the embeddings",
        ),
    ),
    keys=("model", "state_dict"),
    part_prefixes=("visual_encoder.",),  # of eva_vit_g.pth
    aliases={**_ALIASES, "v_width": mlp_of("vision", 4.3637)},
    ignored=UNSIZED | {"mlp_ratio"},
)

LAYOUTS = (HF, LAVIS)
