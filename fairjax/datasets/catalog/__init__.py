"""The table of datasets: one declaration each, in a module per kind of image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from fairjax.datasets import assemble, synthetic, table
from fairjax.datasets.catalog import (
    dermoscopy,
    fundus,
    magnetic_resonance,
    radiography,
    tomography,
    ultrasound,
)
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.spec import Spec
from fairjax.utils import plugins
from fairjax.utils.errors import lookup
from fairjax.utils.storage import hash_json

SPECS: dict[str, Spec] = {
    **radiography.SPECS,
    **dermoscopy.SPECS,
    **fundus.SPECS,
    **ultrasound.SPECS,
    **tomography.SPECS,
    **magnetic_resonance.SPECS,
}

LOADERS: dict[str, Callable[..., Dataset]] = {"synthetic": synthetic.load, "table": table.load}


def names() -> list[str]:
    """Every name that `load` knows."""
    return sorted([*LOADERS, *SPECS])


def canonical_name(name: str) -> str:
    """The name in this table of a dataset that may be written as published: `COVID-CT-MD` is
    `covid_ct_md`.

    Raises:
      UserError: there is no such dataset; the nearest name is given.
    """
    written = name.lower().replace("-", "_")
    return lookup(
        "dataset", written if written in names() else name, {known: known for known in names()}
    )


def compat_grey(name: str) -> tuple[float, float] | None:
    """Returns FairMedFM's mean and standard deviation of grey images; None where it has none."""
    spec = SPECS.get(canonical_name(name))
    return spec.compat_grey if spec else None


def load(name: str, root: str | None = None, **options: Any) -> Dataset:
    """See `fairjax.datasets.load`."""
    plugins.load()
    name = canonical_name(name)
    if name in LOADERS:
        dataset = LOADERS[name](root, **options)
    else:
        dataset = assemble.dataset(name, SPECS[name], root, **options)
    if code := plugins.code("dataset", name):
        key = hash_json([dataset.fingerprint, code])
        return dataclasses.replace(dataset, fingerprint=key)
    return dataset
