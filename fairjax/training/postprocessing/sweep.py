"""A sweep whose scores are post-processed when they are read: rules fitted on validation, applied
to both splits.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Int

from fairjax.training.postprocessing import table
from fairjax.training.runs import Run
from fairjax.training.store import Arrays, Chunk, Sweep


@dataclasses.dataclass(frozen=True)
class Postprocessed(Sweep):
    """A sweep, and a row of `table.POSTPROCESSORS`.

    Attributes:
      rule: name of the row.
      labels: (m,) of the validation split.
      validation_groups, test_groups: (m,), (n,) codes; -1 where unknown.
      groups: their names.
      seed: of the experiment, for rules that draw.
    """

    rule: str = ""
    labels: Int[np.ndarray, " m"] = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    validation_groups: Int[np.ndarray, " m"] = dataclasses.field(
        default_factory=lambda: np.zeros(0, int)
    )
    test_groups: Int[np.ndarray, " n"] = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    groups: tuple[str, ...] = ()
    seed: int = 0

    def load(self, chunk: Chunk) -> tuple[list[Run], Arrays]:
        """Runs, and their arrays with scores replaced by calibrated ones, or by decisions (0 or 1)."""
        runs, arrays = super().load(chunk)
        rule = table.fit(
            self.rule,
            arrays["validation_scores"],
            self.labels,
            self.validation_groups,
            len(self.groups),
        )
        decides = table.POSTPROCESSORS[self.rule].gives == "decisions"
        seeds = np.array([run.seed for run in runs])
        for place, (name, codes) in enumerate(
            (("validation_scores", self.validation_groups), ("test_scores", self.test_groups))
        ):
            scores = table.apply(self.rule, rule, arrays[name], codes)
            if decides:
                key = jax.random.fold_in(jax.random.key(self.seed), place)
                scores = table.draw(key, scores, seeds)
            arrays[name] = np.asarray(scores, np.float32)
        return runs, arrays

    def notes(self) -> list[str]:
        """What there is to say of groups without a rule of their own, from the first chunk."""
        _, arrays = super().load(self.chunks[0])
        rule = table.fit(
            self.rule,
            arrays["validation_scores"],
            self.labels,
            self.validation_groups,
            len(self.groups),
        )
        return table.notes(self.rule, rule, list(self.groups))
