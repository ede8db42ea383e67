"""The small encoder that ships with the package, taught by phantoms without labels.

python -m fairjax.training.pretrain --config=configs/pretrain_phantom.py --out=DIR
"""

from ml_collections import ConfigDict


def get_config(objective: str | None = None) -> ConfigDict:
    """`objective` is a key of `fairjax.training.selfsupervision.OBJECTIVES`; the shipped weights are of the default."""
    return ConfigDict(
        {
            "seed": 0,
            "objective": objective or "foreign_patch",
            "model": "phantom_vit",  # the row of the zoo whose architecture and preprocessing are used
            "architecture": {},  # fields in which the architecture differs from the row's
            # Nothing is planted, so that no group is told to the encoder; every site, so that it has seen them all.
            "phantoms": {
                "seed": 2**32,  # far from any cohort that is evaluated
                "n_patients": 20_000,
                "prevalence": 0.5,
                "lesion_contrast": 0.25,
                "planted": {},
                "shares": {"site": {"A": 0.25, "B": 0.25, "C": 0.25, "D": 0.25}},
            },
            "steps": 1500,
            "batch_size": 128,  # patients
            "learning_rate": 2e-3,
            "warmup": 0.05,  # share of the steps; then a cosine to 1 % of the peak
            "weight_decay": 0.05,
            "checkpoint_every": 100,  # steps: what a kill can lose
            # The linear probe that tells what the features are worth: the default cohort, patients of its own.
            "probe": {"seed": 2**33, "n_patients": 4000, "train_fraction": 0.6, "C": 1.0},
        }
    )
