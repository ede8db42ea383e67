"""MedMAE (`vit-b_CXR_0.5M_mae.pth`): timm's ViT, and perhaps the decoder."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout
from fairjax.converters.rules import dinov2

MEDMAE = Layout(
    name="medmae",
    rules=tuple(rule for rule in dinov2.HUB.rules if not rule.target.endswith(".gamma")),
    drops=(
        Drop(r"mask_token|decoder_.*", "the masked autoencoder's decoder, for pretraining only"),
        Drop(r"head\.(weight|bias)", "a classifier, which is not part of the encoder"),
    ),
    keys=("model",),
    aliases={
        "patch": "patch_size",
        "width": lambda width, given: {
            "width": width,
            "mlp_dim": int(width * given.get("mlp_ratio", 4)),
        },
    },
    ignored=frozenset(
        {"seed", "dec_width", "dec_depth", "dec_heads", "decoder_in_file", "mlp_ratio"}
    ),
)

LAYOUTS = (MEDMAE,)
