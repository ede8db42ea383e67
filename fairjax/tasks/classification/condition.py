"""A condition of an experiment: usage × method × sensitive attribute. Each is a sweep of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from fairjax.datasets.dataset import Dataset
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import Run
from fairjax.training.sweep import Groups

NO_METHOD = "none"  # of usages that train nothing


@dataclasses.dataclass(frozen=True)
class Usage:
    """A row of `USAGES`.

    Attributes:
      name, title: how it is called, and in words.
      kind: of `KINDS`: what makes its sweeps.
      head: of `fairjax.training.heads.HEADS`.
      rank: of LoRA's adapters.
    """

    name: str
    title: str
    kind: str = "head"
    head: str = "linear"
    rank: int = 0

    @property
    def trained(self) -> bool:
        """Whether there is something to train, by some method."""
        return self.kind != "zero_shot"

    def ranked(self, ranks: Sequence[int]) -> Iterator[Usage]:
        """Itself, or of LoRA one for each rank."""
        for rank in ranks if self.kind == "lora" else (0,):
            name = f"{self.name}_{rank}" if rank and len(ranks) > 1 else self.name
            yield dataclasses.replace(self, name=name, rank=rank)


@dataclasses.dataclass(frozen=True)
class Cell:
    """Runs that differ in seed, learning rate, weight decay and strength.

    Attributes:
      usage: a row of `USAGES`.
      method: of `objectives.METHODS`, in its wrappers.
      sensitive: the attribute that the method is told of; "" for methods that are told of none.
      runs: what to train.
      probe: how.
      postprocess: of `postprocess.POSTPROCESSORS`, with the groups of `sensitive`; "" leaves scores
        as they are.
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
        return f"{self.usage.name}/{self.facts['method']}" + (
            f"[{self.sensitive}]" if self.sensitive else ""
        )

    @property
    def facts(self) -> dict[str, str]:
        """Columns of the results that are the same for all of its runs."""
        method = self.method + (f">{self.postprocess}" if self.postprocess else "")
        return {"usage": self.usage.name, "method": method, "sensitive": self.sensitive}

    @property
    def decides(self) -> bool:
        """Whether its scores are decisions, 0 or 1."""
        return bool(self.postprocess) and POSTPROCESSORS[self.postprocess].gives == "decisions"

    def groups(self, dataset: Dataset, rows: np.ndarray) -> Groups | None:
        """The groups that the method is told of, for some rows."""
        if not self.sensitive:
            return None
        codes, names = dataset.groups(self.sensitive)
        return Groups(codes[rows], len(names))
