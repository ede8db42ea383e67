"""How an audit is made: the analysis, apart from the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from fairjax.metrics.table import CLASSIFICATION, METRICS
from fairjax.metrics.threshold import parse_rule
from fairjax.statistics.evaluation import INTERVALS
from fairjax.utils.errors import UserError, lookup

POLICIES = ("strict", "compat")
AUC_INTERVALS = ("bootstrap", "delong")
MIN = {"n_boot": 0, "n_permutations": 0, "min_group": 1}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The choices of an analysis, which the report lists.

    Attributes:
      policy: `strict`, or `compat` for the conventions of the published FairMedFM code.
      threshold: a number, or a rule of `fairjax.metrics.threshold.RULES`; `compat` has its own
        instead.
      n_boot: bootstrap replicates; 0: no intervals.
      n_permutations: permutations of the test of each gap; 0: no p-values.
      seed: seed of both.
      confidence: level of the intervals.
      interval: `percentile` or `bca`.
      auc_interval: `bootstrap` or `delong`.
      stratify: whether patients are drawn within label and groups.
      min_group: minimal number of patients of either label for a group to have numbers; None: 5,
        and 1 in `compat`.
      metrics: names from `fairjax.metrics.table.METRICS`.
      progress: whether to show bars.
    """

    policy: str = "strict"
    threshold: str | float = 0.5
    n_boot: int = 2000
    n_permutations: int = 2000
    seed: int = 0
    confidence: float = 0.95
    interval: str = "percentile"
    auc_interval: str = "bootstrap"
    stratify: bool = False
    min_group: int | None = None
    metrics: Sequence[str] = CLASSIFICATION
    progress: bool = False

    def __post_init__(self):
        for name, choices in {
            "policy": POLICIES,
            "interval": INTERVALS,
            "auc_interval": AUC_INTERVALS,
        }.items():
            lookup(name, getattr(self, name), dict.fromkeys(choices))
        for name, low in MIN.items():
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < low):
                raise UserError(f"{name} must be a whole number of at least {low}, not {value}")
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence must be between 0 and 1, as 0.95, not {self.confidence}")
        for name in self.metrics:
            lookup("metric", name, METRICS)
        parse_rule(self.threshold)

    @property
    def min_patients(self) -> int:
        """Minimal number of patients of either label in a group."""
        if self.min_group is not None:
            return self.min_group
        return {"strict": 5, "compat": 1}[self.policy]

    def options(self) -> dict[str, Any]:
        """Returns what `fairjax.statistics.evaluation.Evaluation` takes of it."""
        names = ("n_boot", "seed", "confidence", "interval")
        return {name: getattr(self, name) for name in names} | {"min_group": self.min_patients}

    def facts(self) -> dict[str, Any]:
        """Returns the choices as reports show them."""
        facts = dataclasses.asdict(self) | {
            "min_group": self.min_patients,
            "metrics": list(self.metrics),
        }
        del facts["progress"]
        return facts
