"""One module per family of published files, one `Layout` per way of naming their tensors."""

from __future__ import annotations

from converters.engine import Layout
from converters.rules import clip, dinov2, sam, sam2

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        clip.OPENAI,
        clip.HF,
        dinov2.HUB,
        dinov2.HF,
        sam.SAM,
        sam.LVM_MED,
        sam.MOBILE_SAM,
        sam2.SAM2,
    )
}
