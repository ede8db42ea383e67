"""Linear probes of a foundation model on a dataset, after FairMedFM's protocol.

    python -m converters --model=mobile_sam --checkpoint=mobile_sam.safetensors --out=checkpoints/mobile_sam
    python -m fairjax.launch --config=configs/linear_probe.py:dataset=isic2017,model=mobile_sam \
        --config.dataset.root=DIR --config.model.checkpoint=checkpoints/mobile_sam
"""

from ml_collections import ConfigDict

from configs import common

TABLE = {
    "table": "",
    "image": "image",
    "label": "label",
    "patient": "",
    "positive": ("1",),
    "negative": ("0",),
    "missing": ("unknown",),
}
IMAGE_SIZES = {"mobile_sam": 256}  # where the model's own size is made for segmentation, not for one vector per image


def get_config(argument: str | None = None) -> ConfigDict:
    """100 epochs, warm-up 5, cosine to 4 % of the peak, batch 128, weight decay 0.05; 64 seeds × 4 learning rates."""
    chosen = common.parse_argument(argument, dataset="isic2017", model="mobile_sam")
    config = common.base()
    config.dataset.name = chosen["dataset"]
    config.model.name = chosen["model"]
    config.model.image_size = IMAGE_SIZES.get(chosen["model"], 0)
    if chosen["dataset"] == "table":
        config.dataset.update(TABLE)
    config.seeds = 64
    config.training.learning_rates = (2.5e-4, 1e-3, 4e-3, 1.6e-2)
    return config
