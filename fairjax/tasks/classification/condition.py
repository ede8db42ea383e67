"""A condition of an experiment: usage × method × sensitive attribute. Each is a sweep of runs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairjax.datasets.dataset import Dataset
from fairjax.tasks.classification.sections import TrainingConfig
from fairjax.tasks.classification.subject import Subject
from fairjax.tasks.config import ClassificationConfig
from fairjax.tasks.sections import strengths_of
from fairjax.training.objectives import parse
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import Run, expand
from fairjax.training.store import Sweep
from fairjax.training.sweep import Groups
from fairjax.utils import plugins


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What training a condition would take.

    Attributes:
      program: equal for conditions that share a compiled program.
      text: in words.
      flops: floating-point operations of heads on embeddings.
    """

    program: Any
    text: str
    flops: float = 0.0


@dataclasses.dataclass(frozen=True)
class Usage(abc.ABC):
    """How a foundation model is used: a row of `usages.USAGES`.

    Attributes:
      name: how it is called.
      title: what it is, in words.
    """

    name: str
    title: str

    @property
    def code(self) -> dict[str, str]:
        """Hashes of registered usages, for identities; empty for a usage of fairjax."""
        return {} if type(self).__module__.startswith("fairjax.") else plugins.codes("usage")

    def variants(self, cfg: TrainingConfig) -> Iterator[Usage]:
        """Yields itself, or the usages that it is made of."""
        yield self

    def methods(self, cfg: TrainingConfig) -> Sequence[str]:
        """The methods that it is trained by."""
        return cfg.methods

    def needs_groups(self, method: str) -> bool:
        """Whether a method uses the groups of an attribute."""
        return parse(method).objective.grouped

    def runs(self, config: ClassificationConfig, method: str) -> list[Run]:
        """Seeds × learning rates × weight decays × strengths of a method.

        Raises:
          UserError: the values make no grid.
        """
        cfg = config.training
        strengths = strengths_of(parse(method).strength, cfg.strengths, "training")
        return expand(config.seeds, cfg.learning_rates, cfg.weight_decays, strengths)

    @abc.abstractmethod
    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses, before anything is embedded, what could not be trained.

        Raises:
          UserError: the usage is not for this model or dataset, or does not go with the method.
        """

    @abc.abstractmethod
    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says what training would take."""

    @abc.abstractmethod
    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Returns the sweep of a condition; what of it is not in the directory is trained."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """Runs that differ in seed, learning rate, weight decay and strength.

    Attributes:
      usage: a row of `USAGES`.
      method: a key of `objectives.METHODS`, in its wrappers.
      sensitive: the attribute that the method uses; "" for methods that use none.
      runs: what to train.
      probe: how it is trained.
      postprocess: a key of `POSTPROCESSORS`, with the groups of `sensitive`; "" leaves scores as
        they are.
    """

    usage: Usage
    method: str
    sensitive: str
    runs: tuple[Run, ...]
    probe: ProbeConfig
    postprocess: str = ""

    @property
    def name(self) -> str:
        """`linear_probe/group_dro[sex]`, `linear_probe/erm>platt[sex]`."""
        attribute = f"[{self.sensitive}]" if self.sensitive else ""
        return f"{self.usage.name}/{self.facts['method']}{attribute}"

    @property
    def facts(self) -> dict[str, str]:
        """Columns of the results that are the same for all of its runs."""
        method = self.method + (f">{self.postprocess}" if self.postprocess else "")
        return {"usage": self.usage.name, "method": method, "sensitive": self.sensitive}

    @property
    def code(self) -> dict[str, str]:
        """Hashes of what a user has registered and the condition uses, for identities."""
        return self.usage.code | plugins.code("postprocessor", self.postprocess)

    @property
    def decides(self) -> bool:
        """Whether its scores are decisions, 0 or 1."""
        return bool(self.postprocess) and POSTPROCESSORS[self.postprocess].decides

    def groups(self, dataset: Dataset, rows: np.ndarray) -> Groups | None:
        """The groups that the method uses, for some rows."""
        if not self.sensitive:
            return None
        codes, names = dataset.groups(self.sensitive)
        return Groups(codes[rows], len(names))
