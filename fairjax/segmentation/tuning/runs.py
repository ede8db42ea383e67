"""What decoders to tune, how, and which of them are taken."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import pandas as pd

from fairjax.segmentation.tuning.losses import METHODS
from fairjax.utils.errors import UserError, lookup

CHOICES = ("overall", "worst")


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """How decoders are tuned.

    Attributes:
      epochs, warmup_epochs: length of training and of the linear warm-up; then a cosine.
      final_lr_fraction: where the cosine ends, as a share of the peak.
      batch_size: objects per step.
      weight_decay: decoupled, as in AdamW.
      lora_rank: rank of what is added to the projections of the image encoder's attention; 0: the
        encoder stays frozen.
      choose: what picks epochs, learning rates and strengths on the validation side: the mean Dice
        `overall`, or that of the `worst` group.
    """

    epochs: int = 10
    warmup_epochs: int = 1
    final_lr_fraction: float = 0.04
    batch_size: int = 4
    weight_decay: float = 0.01
    lora_rank: int = 0
    choose: str = "overall"

    def __post_init__(self):
        lookup("mitigation.choose", self.choose, dict.fromkeys(CHOICES))
        if not 0 <= self.warmup_epochs < self.epochs or self.batch_size < 1 or self.lora_rank < 0:
            raise UserError(
                "mitigation needs 0 ≤ warmup_epochs < epochs, batch_size ≥ 1 and lora_rank ≥ 0 (0: no LoRA)"
            )


@dataclasses.dataclass(frozen=True, order=True)
class TuneRun:
    """One decoder to tune.

    Attributes:
      method: a key of `METHODS`.
      strength: of the method; 0 for one without.
      learning_rate: peak of the schedule.
      seed: of the order of objects, of their prompts, and of LoRA's beginnings.
    """

    method: str
    strength: float
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """Identifies the run whoever it is tuned with."""
        return (
            f"{self.method},strength={self.strength:g},lr={self.learning_rate:g},seed={self.seed}"
        )


def expand(
    methods: Sequence[str], strengths: Sequence[float], learning_rates: Sequence[float], seeds: int
) -> list[TuneRun]:
    """All runs, seeds fastest.

    Args:
      methods: keys of `METHODS`.
      strengths: of the methods that have one; () for each method's own default.
      learning_rates: peaks of the schedule.
      seeds: how many.

    Raises:
      UserError: an unknown method, or one that stands twice; no learning rate or seed.
    """
    for name in methods:
        lookup("mitigation.methods", name, METHODS)
    for key, values in {
        "methods": methods,
        "strengths": strengths,
        "learning_rates": learning_rates,
    }.items():
        if len(set(values)) < len(values):
            raise UserError(f"mitigation.{key} must be different values, not {tuple(values)}")
    if not learning_rates or min(learning_rates) <= 0 or seeds < 1 or min(strengths, default=0) < 0:
        raise UserError("mitigation needs learning_rates above 0, strengths ≥ 0, and seeds ≥ 1")
    runs = []
    for name in methods:
        own = METHODS[name].strength
        of_method: Sequence[float] = (strengths or [own.default]) if own else [0.0]
        grid = itertools.product(of_method, learning_rates, range(seeds))
        runs += [TuneRun(name, float(strength), float(rate), seed) for strength, rate, seed in grid]
    return runs


def choose(table: pd.DataFrame) -> dict[str, list[str]]:
    """Method → the runs (one per seed) of the setting that is best on the validation side on
    average over seeds.
    """
    chosen = {}
    for method, runs in table.groupby("method", sort=False):
        setting = ["strength", "learning_rate"]
        best = runs.groupby(setting)["validation_score"].mean().idxmax()
        chosen[str(method)] = (
            runs[(runs[setting] == list(best)).all(axis=1)].sort_values("seed")["run"].tolist()
        )
    return chosen
