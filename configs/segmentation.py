"""Prompted segmentation of a dataset with true masks, by group.

    python -m converters --model=mobile_sam --checkpoint=mobile_sam.safetensors --out=checkpoints/mobile_sam
    python -m fairjax.launch --config=configs/segmentation.py:dataset=isic2017,model=mobile_sam,prompts=rand+bbox \
        --config.dataset.root=DIR --config.model.checkpoint=checkpoints/mobile_sam
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str | None = None) -> ConfigDict:
    """FairMedFM's four prompts, five draws of the random ones, at the model's own size."""
    chosen = common.parse_argument(
        argument, dataset="isic2017", model="mobile_sam", prompts="center+rand+rands+bbox", objects="class"
    )
    config = common.segmentation(chosen["dataset"])
    config.model.name = chosen["model"]
    config.prompting.prompts = chosen["prompts"]
    config.prompting.objects = chosen["objects"]
    config.prompting.shown = "bbox" if "bbox" in chosen["prompts"].split("+") else chosen["prompts"].split("+")[0]
    return config
