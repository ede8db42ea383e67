"""One module per family of published files, one `Layout` per way of naming their tensors."""

from __future__ import annotations

from converters.engine import Layout
from converters.rules import clip, convnets, dinov2, medmae, mobile_sam

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        clip.OPENAI,
        clip.HF,
        dinov2.HUB,
        dinov2.HF,
        medmae.MEDMAE,
        convnets.RESNET,
        convnets.C2L,
        *convnets.MOCO,
        mobile_sam.MOBILE_SAM,
    )
}
