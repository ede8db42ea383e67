"""BiomedCLIP (`open_clip_pytorch_model.bin`): a timm ViT and Hugging Face's BERT."""

from __future__ import annotations

from fairjax.converters.engine import Drop, Layout, norm, rule, under
from fairjax.converters.rules.parts import BERT, TEXT, UNSIZED, VISION, mlp_of, timm_vit
from fairjax.converters.transforms import LINEAR

BIOMEDCLIP = Layout(
    name="biomedclip",
    rules=(
        *under("visual.trunk", "vision", (*timm_vit(), *norm("norm", "norm"))),
        *rule("visual.head.proj.weight", "visual_projection.kernel", LINEAR),
        *under("text.transformer", "text", BERT),
        *rule("text.proj.0.weight", "text_projection.fc1.kernel", LINEAR),
        *rule("text.proj.2.weight", "text_projection.fc2.kernel", LINEAR),
        *rule("logit_scale", "logit_scale"),
    ),
    drops=(
        Drop(
            r"text\.transformer\.embeddings\.position_ids",
            "0, 1, 2, … as older transformers saved it",
        ),
        Drop(
            r"text\.transformer\.pooler\.dense\.(weight|bias)",
            "BERT's pooler, which open_clip does not use",
        ),
    ),
    aliases={
        **VISION,
        **TEXT,
        "v_width": mlp_of("vision"),
        "max_pos": "text.positions",
        "ctx": "text.context_length",
    },
    ignored=UNSIZED,
)

LAYOUTS = (BIOMEDCLIP,)
