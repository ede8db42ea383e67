"""Linear probes of a foundation model on a dataset, after FairMedFM's protocol.

    python -m converters --model=mobile_sam --checkpoint=mobile_sam.safetensors \
        --out=checkpoints/mobile_sam
    python -m fairjax.launch --config=configs/linear_probe.py:dataset=isic2017,model=mobile_sam \
        --config.dataset.root=DIR --config.model.checkpoint=checkpoints/mobile_sam

Measured on two CPU cores with mobile_sam at 256 pixels (AUC on the test split, then its gaps):

    isic2017   0.689 [0.622, 0.756]   sex 0.111 [0.000, 0.260]   age 0.038 [0.000, 0.211]   60 s
    ham10000   0.833 [0.787, 0.876]   sex 0.055 [0.000, 0.148]   age 0.124 [0.021, 0.227]*  70 s
    covid_cxr  0.665 [0.527, 0.798]   sex 0.331 [0.054, 0.607]*  age 0.026 [0.000, 0.330]   22 s
"""

from ml_collections import ConfigDict

from fairjax.configs import common
from fairjax.models.zoo import MODELS


def get_config(argument: str | None = None) -> ConfigDict:
    """Returns FairMedFM's protocol (the defaults), with 64 seeds × 4 learning rates."""
    chosen = common.parse_argument(argument, dataset="isic2017", model="mobile_sam")
    config = common.base(chosen["dataset"], chosen["model"])
    row = MODELS.get(chosen["model"])
    config.model.image_size = row.probe_image_size if row else 0
    config.seeds = 64
    config.training.learning_rates = (2.5e-4, 1e-3, 4e-3, 1.6e-2)
    return config
