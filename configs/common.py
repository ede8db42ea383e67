"""The configuration of each task, with its defaults; `docs/config.md` lists every key."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from fairjax.tasks.config import (
    ClassificationConfig,
    SegmentationConfig,
    SweptDataset,
    SweptModel,
)
from fairjax.tasks.sections import DatasetConfig, ModelConfig, options_of
from fairjax.utils.errors import UserError, did_you_mean


def base(dataset: str, model: str = "") -> ConfigDict:
    """Returns the defaults for classification on a dataset."""
    return _defaults(ClassificationConfig, dataset, model)


def segmentation(dataset: str, model: str = "") -> ConfigDict:
    """Returns the defaults for prompted segmentation of a dataset."""
    return _defaults(SegmentationConfig, dataset, model)


def sweep(datasets: str, models: str) -> ConfigDict:
    """Returns the defaults for classification over datasets × models.

    Args:
      datasets: names joined by +; `mine:table` is a user's own table, called `mine`.
      models: names joined by +.
    """
    config = base("")
    for field in dataclasses.fields(options_of("")):
        del config.dataset[field.name]  # each dataset has its own
    config.task = "sweep"
    swept = dict(_swept(name) for name in datasets.split("+"))
    config.datasets = ConfigDict(swept)
    config.models = ConfigDict(
        {name: dataclasses.asdict(SweptModel()) for name in models.split("+")}
    )
    return config


def _swept(text: str) -> tuple[str, dict]:
    name, _, kind = text.partition(":")
    values = dataclasses.asdict(SweptDataset(kind=kind, options=options_of(kind or name)()))
    return name, values | values.pop("options")


def _defaults(
    cls: type[ClassificationConfig | SegmentationConfig], dataset: str, model: str
) -> ConfigDict:
    of_dataset = DatasetConfig(name=dataset, options=options_of(dataset)())
    return ConfigDict(cls(dataset=of_dataset, model=ModelConfig(name=model)).to_dict())


def parse_argument(argument: str | None, **defaults: str) -> dict[str, str]:
    """Reads `a=x,b=y`, the part of `--config=FILE.py:a=x,b=y` after the colon.

    Raises:
      UserError: a key is not among `defaults`, or has no value.
    """
    values = dict(defaults)
    for part in filter(None, (argument or "").split(",")):
        key, equals, value = part.partition("=")
        if key not in defaults:
            raise UserError(f"unknown config argument {key!r}{did_you_mean(key, defaults)}")
        if not equals or not value:
            raise UserError(f"config argument {key!r} needs a value: {key}=…")
        values[key] = value
    return values
