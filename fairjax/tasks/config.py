"""The configuration of each task: its sections, checked when they are made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, get_type_hints

from fairjax.datasets.options import TableOptions
from fairjax.tasks.classification.sections import PromptsConfig, ScoresConfig, TrainingConfig
from fairjax.tasks.options import build, check_options, option
from fairjax.tasks.sections import (
    DatasetConfig,
    EmbeddingConfig,
    EvaluationConfig,
    ModelConfig,
    Options,
    options_of,
)
from fairjax.tasks.segmentation.sections import MitigationConfig, PromptingConfig
from fairjax.utils.errors import UserError, lookup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What the tasks share.

    Attributes:
      task: `classification`, `segmentation`, or `sweep` over datasets and models.
      seed: seed of the experiment: splits, initialisation, order, bootstrap.
      n_boot: bootstrap replicates over patients; 0 gives no intervals.
      attributes: whose groups are compared.
      cache_dir: folder of embeddings and compiled programs; '' is $FAIRJAX_CACHE or
        ~/.cache/fairjax.
      memory_gib: budget of one device.
    """

    OF_DATASET: ClassVar[bool] = True  # whether `dataset` has the options of one dataset

    task: str
    seed: int = 0
    n_boot: int = option(2000, unit="replicates", minimum=0, evaluation=True)
    attributes: tuple[str, ...] = ("sex", "age")
    cache_dir: str = ""
    memory_gib: float = option(4.0, unit="GiB")
    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    embedding: EmbeddingConfig = dataclasses.field(default_factory=EmbeddingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_options("", self)

    @property
    def memory_bytes(self) -> float:
        """Budget of one device."""
        return self.memory_gib * 2**30

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as a configuration file has them."""
        values = dataclasses.asdict(self)
        values["dataset"] |= values["dataset"].pop("options")
        if not self.OF_DATASET:
            for field in dataclasses.fields(self.dataset.options):
                del values["dataset"][field.name]
        return values


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(Config):
    """Classification.

    Attributes:
      seeds: runs per combination of hyper-parameters.
    """

    task: str = "classification"
    seeds: int = option(16, minimum=1, grows=True)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    prompts: PromptsConfig = dataclasses.field(default_factory=PromptsConfig)
    evaluation: ScoresConfig = dataclasses.field(default_factory=ScoresConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(Config):
    """Prompted segmentation."""

    task: str = "segmentation"
    embedding: EmbeddingConfig = dataclasses.field(
        default_factory=lambda: EmbeddingConfig(batch_size=4, shard_batches=4)
    )
    prompting: PromptingConfig = dataclasses.field(default_factory=PromptingConfig)
    mitigation: MitigationConfig = dataclasses.field(default_factory=MitigationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mitigation.methods and self.attributes:
            attributes = dict.fromkeys(self.attributes)
            lookup("mitigation.sensitive_attribute", self.sensitive_attribute, attributes)

    @property
    def sensitive_attribute(self) -> str:
        """The attribute whose groups methods of mitigation use."""
        return self.mitigation.sensitive_attribute or self.attributes[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweptDataset:
    """What a sweep says of one dataset.

    Attributes:
      kind: the dataset's name in the catalog, or `table`; '' where that is the name in the sweep.
      root: folder that holds it.
      bins: groups of continuous attributes.
      attributes: whose groups are compared; () for the sweep's.
      options: further keys, which depend on the dataset.
    """

    kind: str = ""
    root: str = ""
    bins: str = ""
    attributes: tuple[str, ...] = ()
    options: Options = dataclasses.field(default_factory=TableOptions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweptModel:
    """What a sweep says of one model.

    Attributes:
      checkpoint: folder that the converters wrote; '' for a model that ships with fairjax.
      image_size: side of the input; 0 is the preprocessing's own.
    """

    checkpoint: str = ""
    image_size: int = option(0, unit="pixels", minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig(ClassificationConfig):
    """Classification over datasets × models.

    Attributes:
      datasets: name → what differs from the section `dataset`.
      models: name → what differs from the section `model`.
    """

    OF_DATASET: ClassVar[bool] = False

    task: str = "sweep"
    datasets: Mapping[str, SweptDataset] = dataclasses.field(default_factory=dict)
    models: Mapping[str, SweptModel] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("datasets", "models"):
            if not getattr(self, key):
                raise UserError(
                    f"a sweep needs {key}: "
                    "--config=configs/sweep.py:datasets=isic2017+ham10000,models=mobile_sam"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as a configuration file has them."""
        values = super().to_dict()
        for entry in values["datasets"].values():
            entry |= entry.pop("options")
        return values

    def experiments(self) -> Iterator[tuple[str, str, ClassificationConfig]]:
        """The dataset, the model and the configuration of every experiment."""
        shared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(ClassificationConfig)
        }
        for name, entry in self.datasets.items():
            dataset = dataclasses.replace(
                self.dataset,
                name=entry.kind or name,
                alias=name if entry.kind else "",
                **{key: getattr(entry, key) for key in ("root", "bins", "options")},
            )
            for model, swept in self.models.items():
                of_model = dataclasses.replace(self.model, name=model, **dataclasses.asdict(swept))
                changes = {
                    "task": "classification",
                    "attributes": entry.attributes or self.attributes,
                    "dataset": dataset,
                    "model": of_model,
                }
                yield name, model, ClassificationConfig(**(shared | changes))


TASKS: dict[str, type[Config]] = {
    "classification": ClassificationConfig,
    "segmentation": SegmentationConfig,
    "sweep": SweepConfig,
}


def from_dict(values: Mapping[str, Any]) -> Any:
    """Builds the configuration of a task from plain nested values.

    Raises:
      UserError: a key is unknown, or a value of a wrong type or one that cannot be.
    """
    cls = lookup("task", values.get("task", "classification"), TASKS)
    values = dict(values)
    section = dict(values.get("dataset", {}))
    if cls.OF_DATASET:
        section = _with_options(DatasetConfig, section, section.get("name", ""), "dataset")
    values["dataset"] = section
    if "datasets" in values:
        values["datasets"] = {
            name: build(
                SweptDataset,
                _with_options(SweptDataset, entry, entry.get("kind") or name, f"datasets.{name}"),
                f"datasets.{name}",
            )
            for name, entry in values["datasets"].items()
        }
        values["models"] = {
            name: build(SweptModel, entry, f"models.{name}")
            for name, entry in values["models"].items()
        }
    return build(cls, values, "config")


def _with_options(
    cls: type[Any], section: Mapping[str, Any], dataset: str, where: str
) -> dict[str, Any]:
    """A section in which the keys that it does not have are options of its dataset."""
    own = {field.name for field in dataclasses.fields(cls)}
    rest = {key: value for key, value in section.items() if key not in own}
    options = build(options_of(dataset), rest, where)
    return {key: value for key, value in section.items() if key in own} | {"options": options}


def changes(cls: type[Config], old: Any, new: Any) -> tuple[list[str], list[str]]:
    """What differs between the settings of a work directory and those of a run.

    Args:
      cls: the class of both.
      old: settings of the work directory, of `Config.to_dict`.
      new: settings of the run.

    Returns:
      A sentence for every key whose change makes the results others; and the keys of the rest,
      which only add or leave out runs, or of which only the evaluation depends.
    """
    free = {key for key, field in keys(cls) if field.metadata.get("grows") or _evaluates(field)}
    refused, allowed = [], []
    old, new = json.loads(json.dumps(old)), json.loads(json.dumps(new))
    for key, before, after in _differences(old, new):
        if key in free:
            allowed.append(key)
        else:
            refused.append(f"{key} was {json.dumps(before)}, is {json.dumps(after)}")
    return refused, allowed


def _evaluates(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("evaluation"))


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{key}.{name}" if key else name
            yield from _differences(old.get(name), new.get(name), inner)
    elif old != new:
        yield key, old, new


def keys(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every key of a configuration, by its dotted name."""
    types = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(types[field.name]):
            yield from keys(types[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field
