"""A sweep whose scores are post-processed when they are read: rules fitted on validation, applied
to both splits.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from fairjax.training.postprocessing import table
from fairjax.training.runs import Run
from fairjax.training.store import Arrays, Chunk, Sweep


@dataclasses.dataclass(frozen=True)
class Postprocessed(Sweep):
    """A sweep, and a row of `table.POSTPROCESSORS`.

    Attributes:
      rule: name of the row.
      labels: (m,) labels of the validation split.
      validation_groups, test_groups: (m,), (n,) codes; -1 if unknown.
      groups: their names.
      seed: seed of the experiment, for rules that draw.
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
        """Runs, and their arrays with scores replaced by calibrated ones, or decisions (0 or 1)."""
        runs, arrays = super().load(chunk)
        rule = self._fit(chunk, arrays["validation_scores"])
        seeds = np.array([run.seed for run in runs])
        splits = (
            ("validation_scores", self.validation_groups),
            ("test_scores", self.test_groups),
        )
        for index, (name, codes) in enumerate(splits):
            scores = table.apply(self.rule, rule, arrays[name], codes)
            if table.POSTPROCESSORS[self.rule].decides:
                key = jax.random.fold_in(jax.random.key(self.seed), index)
                scores = table.draw(key, scores, seeds)
            arrays[name] = np.asarray(scores, np.float32)
        return runs, arrays

    def notes(self) -> list[str]:
        """What there is to say of groups without a rule of their own, from the first chunk."""
        chunk = self.chunks[0]
        _, arrays = super().load(chunk)
        rule = self._fit(chunk, arrays["validation_scores"])
        return table.notes(self.rule, rule, self.groups)

    def _fit(self, chunk: Chunk, scores: Float[np.ndarray, "r m"]) -> Any:
        """The rule of a chunk, which is fitted once."""
        if chunk.path.name not in self._fitted:
            groups, n_groups = self.validation_groups, len(self.groups)
            rule = table.fit(self.rule, scores, self.labels, groups, n_groups)
            self._fitted[chunk.path.name] = rule
        return self._fitted[chunk.path.name]

    @functools.cached_property
    def _fitted(self) -> dict[str, Any]:
        return {}
