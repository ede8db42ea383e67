"""DINOv2, as Meta's hub (fused qkv) and as Hugging Face (`Dinov2Model`: RAD-DINO) publish it."""

from __future__ import annotations

from fairjax.converters.engine import Alias, Drop, Layout, fused_linear, linear, norm, rule, under
from fairjax.converters.transforms import CONV, squeeze

_ALIASES: dict[str, Alias] = {
    "img_size": "image_size",
    "patch": "patch_size",
    "mlp_ratio": lambda ratio, given: {"mlp_dim": int(ratio * given["width"])},
}
_IGNORED = frozenset({"seed", "other_sizes"})
_MASK_TOKEN = "represents masked patches, in pretraining only"

HUB = Layout(
    name="dinov2_hub",
    rules=(
        *rule("patch_embed.proj.weight", "patch_embed.kernel", CONV),
        *rule("patch_embed.proj.bias", "patch_embed.bias"),
        *rule("cls_token", "cls_token", squeeze(2)),
        *rule("pos_embed", "pos_embed", squeeze(1)),
        *under(
            "blocks.{i}",
            "encoder.blocks.{i}",
            (
                *norm("norm1", "norm1"),
                *linear("attn.qkv", "attn.qkv"),
                *linear("attn.proj", "attn.proj"),
                *rule("ls1.gamma", "ls1.gamma"),
                *norm("norm2", "norm2"),
                *linear("mlp.fc1", "mlp.fc1"),
                *linear("mlp.fc2", "mlp.fc2"),
                *rule("ls2.gamma", "ls2.gamma"),
            ),
        ),
        *norm("norm", "norm"),
    ),
    drops=(Drop("mask_token", _MASK_TOKEN),),
    aliases=_ALIASES,
    ignored=_IGNORED,
)

HF = Layout(
    name="dinov2_hf",
    rules=(
        *rule("embeddings.patch_embeddings.projection.weight", "patch_embed.kernel", CONV),
        *rule("embeddings.patch_embeddings.projection.bias", "patch_embed.bias"),
        *rule("embeddings.cls_token", "cls_token", squeeze(2)),
        *rule("embeddings.position_embeddings", "pos_embed", squeeze(1)),
        *under(
            "encoder.layer.{i}",
            "encoder.blocks.{i}",
            (
                *norm("norm1", "norm1"),
                *fused_linear(
                    (f"attention.attention.{part}" for part in ("query", "key", "value")),
                    "attn.qkv",
                ),
                *linear("attention.output.dense", "attn.proj"),
                *rule("layer_scale1.lambda1", "ls1.gamma"),
                *norm("norm2", "norm2"),
                *linear("mlp.fc1", "mlp.fc1"),
                *linear("mlp.fc2", "mlp.fc2"),
                *rule("layer_scale2.lambda1", "ls2.gamma"),
            ),
        ),
        *norm("layernorm", "norm"),
    ),
    drops=(Drop(r"embeddings\.mask_token", _MASK_TOKEN),),
    aliases=_ALIASES,
    ignored=_IGNORED,
)

LAYOUTS = (HUB, HF)
