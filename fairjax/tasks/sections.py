"""The sections that tasks share: every key with its default, its meaning and its check.

A field's meaning is its line under `Attributes:`; `docs/config.md` is made of these.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence

from fairjax.datasets.catalog import LOADERS, canonical_name
from fairjax.datasets.options import CatalogOptions, TableOptions
from fairjax.datasets.phantoms import PhantomConfig
from fairjax.datasets.splits import METHODS as SPLITTERS
from fairjax.datasets.volumes import POOLS
from fairjax.tasks.options import check_options, option
from fairjax.training.objectives import Strength
from fairjax.utils.errors import UserError, lookup

ADAPTED = -1  # of a warm-up: a few epochs, and fewer where training is short


@dataclasses.dataclass(frozen=True)
class LoaderOptions:
    """Options of a user's own loader: its arguments that have plain defaults."""


Options = TableOptions | CatalogOptions | PhantomConfig | LoaderOptions
_OPTIONS: dict[str, type] = {"table": TableOptions, "synthetic": PhantomConfig}


def options_of(dataset: str) -> type:
    """The class of the options that a dataset takes.

    Raises:
      UserError: there is no such dataset.
    """
    name = canonical_name(dataset) if dataset else ""
    return _OPTIONS.get(name) or _options_of_loader(name) or CatalogOptions


def _options_of_loader(name: str) -> type | None:
    """The options of a registered loader, as a class; None if the dataset is a declaration."""
    if name not in LOADERS:
        return None
    given = list(inspect.signature(LOADERS[name]).parameters.values())[1:]
    plain = [one for one in given if isinstance(one.default, (bool, int, float, str))]
    fields = [(one.name, type(one.default), one.default) for one in plain]
    return dataclasses.make_dataclass("Options", fields, bases=(LoaderOptions,), frozen=True)


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Where images are, and how they are split.

    Attributes:
      name: a dataset of `docs/datasets.md`, `synthetic` (phantoms), or `table` (a user's own).
      alias: its name in results and reports; '' for `name`.
      root: folder that holds it.
      bins: groups of continuous attributes, `age=40,60;bmi=q4`: cut points (40 is in the group
        above it), a number of quantiles, or `each` value.
      fractions: of the patients in train, validation and test.
      split: how patients are dealt out; see `fairjax/datasets/splits.py`.
      test: `natural`, or `balanced` over the groups of `balance_on`.
      balance_on: the attribute to balance.
      folds: how many parts `kfold` makes.
      fold: which of them is the test.
      site: of `leave_one_out`: the attribute whose group `hold_out` is the test.
      hold_out: the group.
      split_file: of `file`: a CSV with the columns patient and split, as a run writes it.
      slices: of each volume, evenly spaced; 0 takes all.
      middle: fraction of the depth that they are taken from, about its middle.
      aggregate_slices: how the score of a volume is made of those of its slices.
      options: further keys, which depend on the dataset.
    """

    name: str = ""
    alias: str = ""
    root: str = ""
    bins: str = ""
    fractions: tuple[float, ...] = (0.6, 0.15, 0.25)
    split: str = option("stratified", choices=lambda: SPLITTERS)
    test: str = option("natural", choices=("natural", "balanced"))
    balance_on: str = ""
    folds: int = option(5, minimum=2)
    fold: int = option(0, minimum=0)
    site: str = ""
    hold_out: str = ""
    split_file: str = ""
    slices: int = option(0, minimum=0)
    middle: float = 1.0
    aggregate_slices: str = option("max", choices=lambda: POOLS)
    options: Options = dataclasses.field(default_factory=CatalogOptions)

    def __post_init__(self) -> None:
        check_options("dataset", self)
        if not 0 < self.middle <= 1:
            raise UserError(f"dataset.middle must be above 0 and up to 1, not {self.middle}")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which foundation model, and how it is run.

    Attributes:
      name: a row of the zoo: `python -m fairjax.models` lists them.
      checkpoint: folder that the converters wrote; '' for a model that ships with fairjax.
      preprocess: the model's `own`, or `compat`: FairMedFM's, one for all models.
      image_size: side of the input; 0 is the preprocessing's own.
      dtype: of the tower's computation; `bfloat16` on accelerators.
    """

    name: str = ""
    checkpoint: str = ""
    preprocess: str = option("own", choices=("own", "compat"))
    image_size: int = option(0, unit="pixels", minimum=0)
    dtype: str = option("float32", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        check_options("model", self)


@dataclasses.dataclass(frozen=True)
class EmbeddingConfig:
    """How images pass through the frozen model.

    Attributes:
      batch_size: images that pass together.
      shard_batches: batches in a file of the cache: what a kill can lose.
      threads: readers of images.
      processes: reader processes; 0 reads in threads.
      max_unreadable: fraction of the images that may be unreadable.
    """

    batch_size: int = option(32, unit="images", minimum=1)
    shard_batches: int = option(8, unit="batches", minimum=1)
    threads: int = option(4, minimum=1)
    processes: int = option(0, minimum=0)
    max_unreadable: float = option(0.01, minimum=0)

    def __post_init__(self) -> None:
        check_options("embedding", self)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How sure one can be.

    Attributes:
      policy: `strict`, or `compat`: FairMedFM's input and numbers.
      confidence: level of the intervals.
      min_group: patients per class below which a group gets no number.
      one_class: a group with one class in the whole dataset is an `error`, or `report`ed.
    """

    policy: str = option("strict", choices=("strict", "compat"))
    confidence: float = option(0.95, evaluation=True)
    min_group: int = option(5, unit="patients", minimum=1, evaluation=True)
    # what segmentation compares is masks, not classes
    one_class: str = option("report", choices=("error", "report"), evaluation=True)

    def __post_init__(self) -> None:
        check_options("evaluation", self)
        if not 0 < self.confidence < 1:
            raise UserError(f"evaluation.confidence must be between 0 and 1, not {self.confidence}")


def warmup(asked: int, usual: int, most: int) -> int:
    """The epochs of a warm-up: as asked, or the usual ones, at most `most`."""
    return min(usual, most) if asked == ADAPTED else asked


def strengths_of(
    strength: Strength | None, asked: Sequence[str | float], where: str
) -> list[float | None]:
    """The strengths that a method is run with; [None] for one that has none.

    Args:
      strength: the method's.
      asked: `default`, `path` and numbers.
      where: the section, for messages.

    Raises:
      UserError: a name is neither, or a number is negative.
    """
    named: dict[str, tuple[float, ...]] = {"default": (0.0,), "path": (0.0,)}
    if strength:
        named = {"default": (strength.default,), "path": strength.path}
    key, found = f"{where}.strengths", list[float]()
    for value in asked:
        found += lookup(key, value, named) if isinstance(value, str) else (float(value),)
    if min(found) < 0:
        raise UserError(f"{key} must be at least 0, not {asked}")
    return list(dict.fromkeys(found)) if strength else [None]
