"""The sections of classification: what is trained, on which texts, and how scores are evaluated."""

from __future__ import annotations

import dataclasses

from fairjax.metrics.table import DEFAULT, METRICS
from fairjax.metrics.threshold import parse_rule
from fairjax.statistics.evaluation import INTERVALS
from fairjax.statistics.selection import SELECTORS
from fairjax.tasks.options import check_options, option, require_distinct
from fairjax.tasks.sections import ADAPTED, EvaluationConfig, strengths_of, warmup
from fairjax.training import objectives
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.training.program import KEEPS, ProbeConfig
from fairjax.utils.errors import UserError, lookup


@dataclasses.dataclass(frozen=True)
class PromptsConfig:
    """Texts that describe the classes to a model with a text tower; () for the dataset's own.

    Attributes:
      templates: sentences with a {} for the name: every template with every name of a class.
      negative: names of the negative class.
      positive: names of the positive class.
    """

    templates: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainingConfig(ProbeConfig):
    """What is trained, and how.

    Attributes:
      keep: `best` epoch by validation loss, `last`, or `auto`: best where `erm` is the only method.
      warmup_epochs: length of the linear warm-up; -1 is 5, and at most a sixth of `epochs`.
      usages: of `fairjax.tasks.classification.usages.USAGES`.
      methods: of `fairjax.training.objectives.METHODS`, each in its wrappers: `group_dro+swad`.
      sensitive_attributes: attributes that methods use, each in its own runs; () for all.
      postprocess: of `fairjax.training.postprocessing.table.POSTPROCESSORS`, each on top of every
        method.
      strengths: of each method: `default`, `path` (its own series), or numbers for all methods.
      select: which strength and rates validation chooses for a method, by AUC.
      learning_rates: peaks of the schedule.
      weight_decays: decoupled, as in AdamW.
      lora_ranks: ranks of LoRA, a usage each.
      lora_alpha: what LoRA's additions are multiplied by, over their rank.
    """

    warmup_epochs: int = option(ADAPTED, unit="epochs", minimum=ADAPTED)
    keep: str = option("auto", choices=("auto", *KEEPS))
    usages: tuple[str, ...] = option(("linear_probe",), grows=True)
    methods: tuple[str, ...] = option(("erm",), grows=True)
    sensitive_attributes: tuple[str, ...] = option((), grows=True)
    postprocess: tuple[str, ...] = option((), choices=lambda: POSTPROCESSORS, grows=True)
    strengths: tuple[str | float, ...] = option(("default",), grows=True)
    select: str = option("overall", choices=lambda: SELECTORS, grows=True)
    learning_rates: tuple[float, ...] = option((2.5e-4,), grows=True)
    weight_decays: tuple[float, ...] = option((0.05,), grows=True)
    lora_ranks: tuple[int, ...] = option((8,), minimum=1)
    lora_alpha: float = 16.0

    def __post_init__(self) -> None:
        check_options("training", self)
        for key in ("usages", "methods", "strengths", "lora_ranks"):
            require_distinct(f"training.{key}", getattr(self, key))
        for name in self.methods:
            strengths_of(objectives.parse(name).strength, self.strengths, "training")
        if self.lora_alpha <= 0:
            raise UserError(f"training.lora_alpha must be above 0, not {self.lora_alpha:g}")
        _ = self.probe

    @property
    def probe(self) -> ProbeConfig:
        """How one run is trained.

        The epoch with the least loss is kept where the mean loss is all that methods lower.
        """
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(ProbeConfig)
        }
        values["warmup_epochs"] = warmup(self.warmup_epochs, 5, self.epochs // 6)
        if self.keep == "auto":
            parsed = [objectives.parse(method) for method in self.methods]
            lowers = all(method.lowers_mean_loss for method in parsed)
            values["keep"] = "best" if lowers else "last"
        return ProbeConfig(**values)


def _metric_names() -> list[str]:
    """Metrics of scores with labels; the others are of values of cases, such as a Dice."""
    return [name for name, row in METRICS.items() if not {"value", "median"} & set(row.needs)]


@dataclasses.dataclass(frozen=True)
class ScoresConfig(EvaluationConfig):
    """How scores are evaluated, and how sure one can be.

    Attributes:
      threshold: chosen on validation: `f1`, `youden`, `sensitivity=0.9`, `specificity=0.9`, or a
        number.
      metrics: names from `fairjax.metrics.table.METRICS`.
      primary: the metric of the report's verdict.
      interval: kind of the intervals of groups and of differences.
      policy: `strict`; FairMedFM's own numbers are those of `python -m fairjax.audit`.
    """

    policy: str = option("strict", choices=("strict",))
    one_class: str = option("error", choices=("error", "report"), evaluation=True)
    threshold: str = option("f1", evaluation=True)
    metrics: tuple[str, ...] = option(DEFAULT, choices=_metric_names, evaluation=True)
    primary: str = option("auc", choices=_metric_names, evaluation=True)
    interval: str = option("percentile", choices=INTERVALS, evaluation=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("evaluation.metrics", self.metrics)
        lookup(
            "evaluation.primary among evaluation.metrics", self.primary, dict.fromkeys(self.metrics)
        )
        parse_rule(self.threshold)
