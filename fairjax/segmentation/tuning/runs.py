"""What decoders to tune, how, and which of them are selected."""

from __future__ import annotations

import dataclasses

import pandas as pd

from fairjax.statistics.selection import best_setting
from fairjax.utils.errors import UserError, lookup

SELECTS = ("overall", "worst")


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """How decoders are tuned.

    Attributes:
      epochs, warmup_epochs: length of training and of the linear warm-up; then a cosine.
      final_lr_fraction: where the cosine ends, as a fraction of the peak.
      batch_size: objects per step.
      weight_decay: decoupled, as in AdamW.
      lora_rank: rank of what is added to the projections of the image encoder's attention; 0: the
        encoder stays frozen.
      lora_alpha: what is added is alpha / rank · x A B.
      select: what picks epochs, learning rates and strengths on the validation split: the mean Dice
        `overall`, or that of the `worst` group.
    """

    epochs: int = 10
    warmup_epochs: int = 1
    final_lr_fraction: float = 0.04
    batch_size: int = 4
    weight_decay: float = 0.01
    lora_rank: int = 0
    lora_alpha: float = 16.0
    select: str = "overall"

    def __post_init__(self):
        lookup("mitigation.select", self.select, dict.fromkeys(SELECTS))
        if not 0 <= self.warmup_epochs < self.epochs or self.batch_size < 1 or self.lora_rank < 0:
            raise UserError(
                "mitigation needs 0 ≤ warmup_epochs < epochs, batch_size ≥ 1 and lora_rank ≥ 0 "
                "(0: no LoRA)"
            )
        if self.lora_alpha <= 0:
            raise UserError(f"mitigation.lora_alpha must be above 0, not {self.lora_alpha:g}")


def select(table: pd.DataFrame) -> dict[str, list[str]]:
    """Gives method → the runs (one per seed) of the setting that is best on the validation split,
    on average over seeds.
    """
    chosen = {}
    for method, runs in table.groupby("method", sort=False):
        best = best_setting(runs, lambda means: int(means["validation_score"].idxmax()))
        chosen[str(method)] = best.sort_values("seed")["run"].tolist()
    return chosen
