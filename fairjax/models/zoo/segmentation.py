"""Models that segment what a prompt points at."""

from __future__ import annotations

from fairjax.models.architectures import TinyViTConfig
from fairjax.models.preprocess import Preprocess
from fairjax.models.zoo.entry import LINEAR_LAYERS, FoundationModel

ROWS = (
    FoundationModel(
        name="mobile_sam",
        title="MobileSAM (TinyViT encoder)",
        family="tinyvit",
        architecture=TinyViTConfig(
            image_size=1024,
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            heads=(2, 4, 5, 10),
            windows=(7, 7, 14, 7),
        ),
        preprocess=Preprocess(
            size=1024,
            resize="longest",
            interpolation="bilinear",
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
        usages=("linear_probe",),
        probe_feature="image embedding (after the neck), averaged over the grid",
        lora_targets=LINEAR_LAYERS,
        layouts=("mobile_sam",),
        published_file="mobile_sam.pt",
        licence="Apache-2.0",
        citation="Zhang et al., Faster Segment Anything: towards lightweight SAM for mobile applications, 2023",
    ),
)
