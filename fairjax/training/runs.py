"""A run is a seed and hyper-parameters; a sweep is the product of their values."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from fairjax.utils.errors import UserError


@dataclasses.dataclass(frozen=True, order=True)
class Run:
    """One head, or mask decoder, to train.

    Attributes:
      seed: seed of the initialisation (and of the order of samples, if `order="per_run"`).
      learning_rate: peak of the schedule.
      weight_decay: decoupled, as in AdamW.
      strength: strength of the method; None for one that has none.
      method: name of the method where one sweep has several; "" where all runs have the same.
    """

    seed: int
    learning_rate: float
    weight_decay: float
    strength: float | None = None
    method: str = ""

    @property
    def name(self) -> str:
        """Identifies the run in any sweep: `seed=3,lr=0.001,wd=0.05`, and `,strength=10`."""
        method = f"{self.method}," if self.method else ""
        strength = "" if self.strength is None else f",strength={self.strength:g}"
        rates = f"lr={self.learning_rate:g},wd={self.weight_decay:g}"
        return f"{method}seed={self.seed},{rates}{strength}"


def expand(
    seeds: int | Sequence[int],
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    strengths: Sequence[float | None] = (None,),
    method: str = "",
) -> list[Run]:
    """All combinations, seeds fastest.

    Args:
      seeds: how many (0 … seeds − 1), or which.
      learning_rates: peaks of the schedule.
      weight_decays: values of the weight decay.
      strengths: strengths of the method; `(None,)` for one that has none.
      method: as in `Run`.

    Raises:
      UserError: a list is empty or repeats a value, or a value is negative.
    """
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    numbers = [strength for strength in strengths if strength is not None]
    lists = {"seeds": seeds, "learning_rates": learning_rates, "weight_decays": weight_decays}
    if numbers or not strengths:
        lists["strengths"] = numbers
    for name, values in lists.items():
        if not len(values) or len(set(values)) < len(values) or min(values) < 0:
            raise UserError(
                f"{name} must be distinct numbers ≥ 0, at least one, not {tuple(values)}"
            )
    grid = itertools.product(strengths, learning_rates, weight_decays, seeds)
    return [
        Run(
            int(seed),
            float(rate),
            float(decay),
            None if strength is None else float(strength),
            method,
        )
        for strength, rate, decay, seed in grid
    ]
