"""A tiny promptable model with random weights, pictures of bright shapes with their masks, and a
configuration of both.
"""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fairjax import datasets, models
from fairjax.configs.segmentation import get_config
from fairjax.tasks.config import from_dict
from helpers.masks import CHANGES

N = 10


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "mobile_sam"
    module = models.build("mobile_sam", **CHANGES)
    models.save(folder, module, models.make_card("mobile_sam", module.config))
    return folder


def shapes(i, height, width):
    """Codes of two classes: a large and a small block of class 1, and in every second image a block
    of class 2.
    """
    codes = np.zeros((height, width), np.uint8)
    codes[5 : 18 + i, 6:20] = 1
    codes[height - 8 : height - 4, 30:36] = 1
    if i % 2:
        codes[8:14, 25:40] = 2
    return codes


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Ten images of two sizes, of eight patients; image 3 has an empty mask, image 4 none at all."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for i in range(N):
        height, width = ((40, 56), (64, 50))[i % 2]
        codes = shapes(i, height, width) * (i != 3)
        pixels = rng.integers(0, 60, (height, width, 3)) + 90 * codes[..., None]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        if i != 4:
            Image.fromarray(codes).save(folder / f"{i}_mask.png")
        mask = f"{i}_mask.png" if i != 4 else ""
        rows.append(
            {
                "path": f"{i}.png",
                "who": f"p{i % 8}",
                "sex": "FM"[i % 2],
                "side": "LR"[i // 5],
                "mask": mask,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def data(root):
    return datasets.load(
        "table",
        root,
        table="t.csv",
        image="path",
        label="",
        patient="who",
        attributes=["sex", "side"],
        mask="mask",
        mask_classes=("1=big", "2=small"),
    )


def config(root, checkpoint, **changes):
    """A configuration of both, with changes as `prompting__draws=2`."""
    settings = get_config("dataset=table,model=mobile_sam,prompts=rand+bbox")
    settings.update(
        {
            "n_boot": 40,
            "attributes": ("sex", "side"),
            "embedding": {"batch_size": 2, "shard_batches": 2},
            "evaluation": {"min_group": 1},
            "model": {"checkpoint": str(checkpoint)},
            "prompting": {"draws": 2, "cases": 2},
            "dataset": {
                "root": str(root),
                "table": "t.csv",
                "image": "path",
                "label": "",
                "patient": "who",
                "mask": "mask",
                "mask_classes": ("1=big", "2=small"),
            },
        }
    )
    for key, value in changes.items():
        section, _, name = key.partition("__")
        settings[section][name] = value
    return from_dict(settings.to_dict())
