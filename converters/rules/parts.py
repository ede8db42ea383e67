"""Towers that several publishers name alike: Hugging Face's BERT and timm's ViT."""

from __future__ import annotations

from fairjax.converters.engine import Alias, Rule, fused_linear, linear, norm, rule, under
from fairjax.converters.transforms import CONV, squeeze

TIMM_BLOCK = (
    *norm("norm1", "norm1"),
    *linear("attn.qkv", "attn.qkv"),
    *linear("attn.proj", "attn.proj"),
    *norm("norm2", "norm2"),
    *linear("mlp.fc1", "mlp.fc1"),
    *linear("mlp.fc2", "mlp.fc2"),
)


def timm_vit(block: tuple[Rule, ...] = TIMM_BLOCK) -> tuple[Rule, ...]:
    """A ViT of timm without its final norm, whose name varies between publishers."""
    return (
        *rule("patch_embed.proj.weight", "patch_embed.kernel", CONV),
        *rule("patch_embed.proj.bias", "patch_embed.bias"),
        *rule("cls_token", "cls_token", squeeze(2)),
        *rule("pos_embed", "pos_embed", squeeze(1)),
        *under("blocks.{i}", "encoder.blocks.{i}", block),
    )


def _separate(source: str) -> tuple[str, ...]:
    return tuple(f"{source}.{part}" for part in ("query", "key", "value"))


def bert_layer(attention: str = "self") -> tuple[Rule, ...]:
    """A layer of Hugging Face's BERT, with what BLIP and BLIP-2 add to it.

    Args:
      attention: how the module with the projections is called: "self", in the Q-Former "attention".
    """
    query, *key_value = _separate(f"crossattention.{attention}")
    return (
        *fused_linear(_separate(f"attention.{attention}"), "attn.qkv"),
        *linear("attention.output.dense", "attn.proj"),
        *norm("attention.output.LayerNorm", "norm"),
        *linear(query, "cross.q"),
        *fused_linear(key_value, "cross.kv"),
        *linear("crossattention.output.dense", "cross.proj"),
        *norm("crossattention.output.LayerNorm", "cross.norm"),
        *linear("intermediate.dense", "text.mlp.fc1"),
        *linear("output.dense", "text.mlp.fc2"),
        *norm("output.LayerNorm", "text.norm"),
        *linear("intermediate_query.dense", "query.mlp.fc1"),
        *linear("output_query.dense", "query.mlp.fc2"),
        *norm("output_query.LayerNorm", "query.norm"),
    )


BERT = (
    *rule("embeddings.word_embeddings.weight", "token_embed.embedding"),
    *rule("embeddings.position_embeddings.weight", "pos_embed"),
    *rule("embeddings.token_type_embeddings.weight", "type_embed"),
    *norm("embeddings.LayerNorm", "embed_norm"),
    *under("encoder.layer.{i}", "layers.{i}", bert_layer()),
)

VISION: dict[str, Alias] = {
    "image_size": "vision.image_size",
    "patch": "vision.patch_size",
    "v_width": "vision.width",
    "v_layers": "vision.depth",
    "v_heads": "vision.heads",
    "v_inter": "vision.mlp_dim",
}
TEXT: dict[str, Alias] = {
    "vocab": "text.vocab_size",
    "t_width": "text.width",
    "t_layers": "text.depth",
    "t_heads": "text.heads",
    "t_inter": "text.mlp_dim",
}
UNSIZED = frozenset({"seed", "seq", "logit_scale", "logit_bias", "temp"})


def mlp_of(prefix: str, ratio: float = 4.0) -> Alias:
    """An alias for the width of a ViT whose hidden layers are `ratio` times as wide."""
    return lambda width, given: {
        f"{prefix}.width": width,
        f"{prefix}.mlp_dim": given.get("v_inter", int(width * given.get("mlp_ratio", ratio))),
    }


def bounded_context(max_length: int | None = None) -> Alias:
    """An alias for the number of BERT's positions, of which prompts take at most `max_length`."""
    return lambda n, given: {
        "text.positions": n,
        "text.context_length": n if max_length is None else min(n, max_length),
    }
