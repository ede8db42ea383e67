"""One module per family of published files, one `Layout` per way of naming their tensors."""

from __future__ import annotations

from fairjax.converters.engine import Layout
from fairjax.converters.rules import (
    biomedclip,
    blip,
    blip2,
    clip,
    convnets,
    dinov2,
    medclip,
    medmae,
    sam,
    sam2,
    siglip,
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        clip.OPENAI,
        clip.HF,
        biomedclip.BIOMEDCLIP,
        medclip.MEDCLIP,
        siglip.SIGLIP,
        blip.HF,
        blip.LAVIS,
        blip2.HF,
        blip2.LAVIS,
        dinov2.HUB,
        dinov2.HF,
        medmae.MEDMAE,
        convnets.RESNET,
        convnets.C2L,
        *convnets.MOCO,
        sam.SAM,
        sam.LVM_MED,
        sam.MOBILE_SAM,
        sam2.SAM2,
    )
}
