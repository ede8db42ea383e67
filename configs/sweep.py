"""Datasets × models × usages × methods × attributes × hyper-parameters × seeds.

    python -m fairjax.launch --config=configs/sweep.py --dry_run
    python -m fairjax.launch \\
        --config=configs/sweep.py:datasets=isic2017+ham10000,models=mobile_sam \\
        --config.datasets.isic2017.root=DIR --config.datasets.ham10000.root=DIR \\
        --config.models.mobile_sam.checkpoint=checkpoints/mobile_sam \\
        --config.models.mobile_sam.image_size=256

Own tables have names of their own: `datasets=mine:table+theirs:table`, then
`--config.datasets.mine.table=FILE.csv`, and so on.

Measured on two CPU cores with eight methods, 4 seeds and resample=patients, 388 runs for each
dataset: isic2017 48 s, covid_cxr 35 s after their embeddings; no method differs from ERM beyond
noise.
"""

from ml_collections import ConfigDict

from fairjax.configs import common

METHODS = (
    "erm",
    "reweighting",
    "resampling_class",
    "group_dro",
    "cvar_dro",
    "domain_independent",
    "laftr",
    "mmd",
    "fair_sinkhorn",
    "eo_penalty",
    "jtt",
    "erm+swad",
)


def get_config(argument: str | None = None) -> ConfigDict:
    """Returns twelve methods, each on its path of strengths, 16 seeds."""
    chosen = common.parse_argument(argument, datasets="synthetic", models="phantom_vit")
    config = common.sweep(**chosen)
    config.training.methods = METHODS
    config.training.strengths = ("path",)
    config.training.learning_rates = (1e-3,)
    config.training.epochs = 30
    return config
