"""The sections of segmentation: how a model is prompted, and which decoders are tuned."""

from __future__ import annotations

import dataclasses

from fairjax.metrics.overlap import MEASURES
from fairjax.segmentation import prompts
from fairjax.segmentation.objects import MODES
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.tasks.options import check_options, option, require_distinct
from fairjax.tasks.sections import ADAPTED, strengths_of, warmup
from fairjax.utils.errors import UserError, lookup


@dataclasses.dataclass(frozen=True)
class PromptingConfig:
    """What is segmented, how it is prompted, and how masks are compared.

    Attributes:
      prompts: kinds of prompts, joined by +, of `fairjax.segmentation.prompts.KINDS`.
      draws: of each random prompt; their spread is part of the intervals.
      jitter: of the edges of boxes, as a fraction of their sides.
      objects: what counts as an object.
      min_pixels: smaller objects are left out.
      max_objects: objects per image and class, the largest ones.
      max_images: a sample of the images (of volumes, the volumes) that have masks; 0 for all.
      metrics: how masks are compared, `dice` first.
      tolerance: of `nsd`, in the unit of `spacing`.
      spacing: edge of the pixels of images whose files do not hold it; 1 for distances in pixels.
      mask_size: longer side that larger images are compared at; 0 for their own.
      intersections: whether all attributes are also crossed.
      primary_prompt: the prompt of the report; '' for `bbox`, else the first.
      cases: worst cases that the report shows.
    """

    prompts: str = "center+rand+rands+bbox"
    draws: int = option(5, minimum=1)
    jitter: float = 0.0
    objects: str = option("class", choices=MODES)
    min_pixels: int = option(1, unit="pixels", minimum=1)
    max_objects: int = option(8, minimum=1)
    max_images: int = option(0, minimum=0)
    metrics: tuple[str, ...] = option(("dice", "iou", "nsd", "hd95"), choices=MEASURES)
    tolerance: float = option(2.0, minimum=0)
    spacing: float = option(1.0, unit="mm")
    mask_size: int = option(0, unit="pixels", minimum=0)
    intersections: bool = option(True, evaluation=True)
    primary_prompt: str = ""
    cases: int = option(8, minimum=0, evaluation=True)

    def __post_init__(self) -> None:
        check_options("prompting", self)
        if self.metrics[:1] != ("dice",):
            raise UserError("prompting.metrics must begin with dice, the metric of the report")
        if not 0 <= self.jitter < 1 or self.spacing <= 0:
            raise UserError("prompting.jitter must be in [0, 1), and prompting.spacing above 0")
        lookup("prompting.primary_prompt", self.primary, dict.fromkeys(self.kinds))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of prompts."""
        return prompts.parse(self.prompts)

    @property
    def primary(self) -> str:
        """The prompt of the report."""
        return self.primary_prompt or ("bbox" if "bbox" in self.kinds else self.kinds[0])


@dataclasses.dataclass(frozen=True)
class MitigationConfig(TuneConfig):
    """Which decoders are tuned, and how.

    Attributes:
      methods: of `fairjax.segmentation.tuning.losses.methods`; () for no mitigation.
      sensitive_attribute: whose groups methods use; '' for the first of `attributes`.
      strengths: of each method: `default`, `path` (its own series), or numbers for all methods.
      learning_rates: peaks of the schedule.
      seeds: decoders per method, strength and rate.
      warmup_epochs: length of the linear warm-up; -1 is 1, and at most half of `epochs`.
      prompts: of the training objects; '' for those of `prompting`.
      draws: of each random prompt, from which a step takes one.
      jitter: of the edges of the training boxes, as a fraction of their sides.
    """

    warmup_epochs: int = option(ADAPTED, unit="epochs", minimum=ADAPTED)
    methods: tuple[str, ...] = ()
    sensitive_attribute: str = ""
    strengths: tuple[str | float, ...] = ("default",)
    learning_rates: tuple[float, ...] = (1e-4,)
    seeds: int = option(3, minimum=1)
    prompts: str = ""
    draws: int = option(4, minimum=1)
    jitter: float = 0.1

    def __post_init__(self) -> None:
        check_options("mitigation", self)
        for key in ("strengths", "learning_rates"):
            require_distinct(f"mitigation.{key}", getattr(self, key))
        strengths_of(None, self.strengths, "mitigation")
        if not 0 <= self.jitter < 1:
            raise UserError(f"mitigation.jitter must be in [0, 1), not {self.jitter:g}")
        _ = self.tune

    @property
    def tune(self) -> TuneConfig:
        """How one decoder is tuned."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(TuneConfig)}
        values["warmup_epochs"] = warmup(self.warmup_epochs, 1, self.epochs // 2)
        return TuneConfig(**values)
