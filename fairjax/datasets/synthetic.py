"""`synthetic`: phantoms with a planted, known disparity (`fairjax.datasets.phantoms`), drawn when
they are read.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from fairjax.datasets import phantoms
from fairjax.datasets.bins import parse_bins
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.files import fingerprint
from fairjax.datasets.rules import Bins, Groups, Rule, with_bins
from fairjax.utils.errors import lookup


@dataclasses.dataclass(frozen=True)
class PhantomReader:
    """Draws one phantom by name: uint8 RGB (size, size, 3)."""

    config: phantoms.PhantomConfig

    def __call__(self, image: str) -> UInt8[np.ndarray, "size size 3"]:
        """Renders the image; deterministic."""
        return np.repeat(phantoms.render(self.config, image)[..., None], 3, axis=-1)


def load(
    root: str | None = None, *, bins: Any = None, keep_na: bool = False, **options: Any
) -> Dataset:
    """Returns a cohort of phantoms.

    Args:
      root: not used.
      bins: groups of age, as `age=40,60`.
      keep_na: not used: nothing is missing.
      **options: fields of `phantoms.PhantomConfig`.

    Raises:
      UserError: an option is unknown or does not fit.
    """
    del root, keep_na
    for option in options:
        lookup(
            "option of the synthetic dataset",
            option,
            {f.name: f for f in dataclasses.fields(phantoms.PhantomConfig)},
        )
    config = phantoms.PhantomConfig(**options)
    cohort = phantoms.cohort(config)
    rules: dict[str, Rule] = {
        "sex": Groups("sex", {sex: sex for sex in config.shares["sex"]}),
        "age": Bins("age"),
        "site": Groups("site", {site: site for site in config.shares["site"]}),
    }
    columns: dict[str, Any] = {name: cohort[name] for name in ("image", "patient", "label")}
    columns |= {
        name: rule.apply(pd.Series(cohort[rule.column]), "synthetic")
        for name, rule in with_bins("synthetic", rules, parse_bins(bins)).items()
    }
    info = {
        "modality": "chest-radiograph phantoms",
        "label": "a lesion in a lung (as recorded)",
        "classes": ["no lesion", "lesion"],
        "prompt": "a chest X-ray of a {}",
        "citation": "fairjax.datasets.phantoms",
        "licence": "Apache-2.0",
        "planted": config.planted,
    }
    images = list(map(str, cohort["image"]))
    return Dataset(
        "synthetic",
        pd.DataFrame(columns),
        PhantomReader(config),
        fingerprint(images, [], repr(config)),
        info,
    )
