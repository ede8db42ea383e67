"""From the scores of a sweep to the tidy table of results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairjax import __version__
from fairjax.datasets.dataset import Dataset
from fairjax.metrics.table import METRICS
from fairjax.metrics.threshold import choose_threshold
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.statistics.selection import GROUP_AUC
from fairjax.tasks.classification.condition import Condition
from fairjax.tasks.config import ClassificationConfig
from fairjax.tasks.tables import COLUMNS, write_parquet
from fairjax.training.runs import Run
from fairjax.training.store import Chunk, Sweep
from fairjax.utils import plugins
from fairjax.utils import progress as progress_bars
from fairjax.utils.storage import hash_arrays, hash_json

RUN_COLUMNS = ["run", "seed", "learning_rate", "weight_decay", "strength", "run_id"]
UNMEASURED = ("primary", "one_class")  # what no number depends on


class Part(NamedTuple):
    """The files of an evaluated chunk: tidy results (`COLUMNS`), and one row per run."""

    results: Path
    runs: Path


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Evaluates the sweeps of an experiment on the test split, at the threshold that validation
    scores choose.

    Attributes:
      config: the experiment's.
      validation, test: the images or volumes that the scores belong to.
      facts: constant columns: dataset, model.
      directory: where finished chunks are kept.
      shard: (index, count) of the process: it evaluates the chunks index, index + count, …
      progress: whether to show a bar.
    """

    config: ClassificationConfig
    validation: Dataset
    test: Dataset
    facts: Mapping[str, str]
    directory: Path
    shard: tuple[int, int] = (0, 1)
    progress: bool = True

    def evaluate(self, condition: Condition, sweep: Sweep) -> Iterator[Part]:
        """Yields the files of each chunk, also of those that are another process's."""
        directory, n = self.directory / self._identity(condition, sweep), len(sweep.runs)
        name = f"evaluating {condition.name}"
        with progress_bars.bar(name, "run", n, show=self.progress) as bar:
            for index, chunk in enumerate(sweep.chunks):
                names = [run.name for run in sweep.runs if run.name in set(chunk.names)]
                key = hash_json(names)[:12]
                part = Part(directory / f"results-{key}.parquet", directory / f"runs-{key}.parquet")
                mine = index % self.shard[1] == self.shard[0]
                if mine and not (part.results.exists() and part.runs.exists()):
                    self._chunk(condition, sweep, chunk, part, bar.update)
                else:
                    bar.update(len(names))
                yield part

    @property
    def _groups(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        return {name: self.test.groups(name) for name in self.config.attributes}

    def _identity(self, condition: Condition, sweep: Sweep) -> str:
        """A hash of all that the numbers depend on."""
        settings = dataclasses.asdict(self.config.evaluation)
        cohort = {name: codes for name, (codes, _) in self._groups.items()}
        cohort |= {"patients": self.test.patients(), "labels": self.test.labels}
        identity = [
            __version__,
            {**condition.code, **plugins.codes("metric")},
            sweep.folder.name,
            sweep.pool,
            {**self.facts, **condition.facts},
            {key: value for key, value in settings.items() if key not in UNMEASURED},
            self.config.n_boot,
            self.config.seed,
            {name: names for name, (_, names) in self._groups.items()},
            hash_arrays(cohort),
        ]
        return hash_json(identity)[:12]

    def _chunk(
        self,
        condition: Condition,
        sweep: Sweep,
        chunk: Chunk,
        part: Part,
        advance: Callable[[int], object],
    ) -> None:
        """Evaluates and writes one chunk."""
        loaded, arrays = sweep.load(chunk)
        runs = self._runs(condition, sweep, loaded, arrays)
        facts = {**self.facts, **condition.facts}
        tidy = self._results(arrays["test_scores"], runs, advance)
        tidy = tidy.assign(**facts, policy=self.config.evaluation.policy)[COLUMNS]
        write_parquet(part.runs, runs.assign(**facts))
        decided = [facts["method"]] if condition.decides else []
        write_parquet(part.results, without_scores(tidy, decided))

    def _runs(
        self,
        condition: Condition,
        sweep: Sweep,
        runs: Sequence[Run],
        arrays: Mapping[str, np.ndarray],
    ) -> pd.DataFrame:
        """One row per run: hyper-parameters, threshold, and what validation says of it."""
        scores, facts = arrays["validation_scores"], condition.facts
        rule = "0.5" if condition.decides else self.config.evaluation.threshold
        strengths = [np.nan if run.strength is None else run.strength for run in runs]
        identity = [sweep.folder.name, facts["method"], facts["sensitive"], condition.code]
        return pd.DataFrame(
            {
                "run": [f"{condition.name} {run.name}" for run in runs],
                "seed": [run.seed for run in runs],
                "learning_rate": [run.learning_rate for run in runs],
                "weight_decay": [run.weight_decay for run in runs],
                "strength": np.array(strengths, float),
                "run_id": [hash_json([*identity, run.name])[:16] for run in runs],
                "threshold": np.asarray(choose_threshold(scores, self.validation.labels, rule)),
                "validation_loss": arrays["validation_loss"],
                "best_epoch": arrays["best_epoch"],
                **_aucs(scores, self.validation, self.config.attributes),
            }
        )

    def _results(
        self,
        scores: Float[np.ndarray, "r n"],
        runs: pd.DataFrame,
        advance: Callable[[int], object],
    ) -> pd.DataFrame:
        cfg = self.config.evaluation
        columns = evaluate_runs(
            scores,
            self.test.labels,
            self._groups,
            runs["threshold"].to_numpy(),
            self.test.patients(),
            progress=advance,
            metrics=cfg.metrics,
            n_boot=self.config.n_boot,
            seed=self.config.seed,
            confidence=cfg.confidence,
            interval=cfg.interval,
            min_group=cfg.min_group,
        )
        tidy = pd.DataFrame(columns)
        position = tidy.pop("run")
        return tidy.assign(**{name: runs[name].to_numpy()[position] for name in RUN_COLUMNS})


def without_scores(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """A table without the metrics of scores, for methods that give decisions, which have none."""
    of_scores = table["metric"].map(lambda name: METRICS[name].of_scores)
    return table[~(table["method"].isin(methods) & of_scores)].reset_index(drop=True)


def _aucs(
    scores_rn: Float[np.ndarray, "r n"], split: Dataset, attributes: Sequence[str]
) -> dict[str, Float[np.ndarray, " r"]]:
    """`validation_auc` overall, and of each group of each attribute: what runs are selected by."""
    groups = {attribute: split.groups(attribute) for attribute in attributes}
    columns: dict[str, Any] = evaluate_runs(
        scores_rn,
        split.labels,
        groups,
        np.full(len(scores_rn), 0.5),
        split.patients(),
        metrics=("auc",),
        n_boot=0,
        min_group=1,
    )
    frame = pd.DataFrame({name: columns[name] for name in ("run", "attribute", "group", "value")})
    found = {
        (key[0], key[1]): rows["value"].to_numpy()
        for key, rows in frame.groupby(["attribute", "group"])
    }
    named = {f"{GROUP_AUC}{a}={g}": found[a, g] for a, (_, names) in groups.items() for g in names}
    return {"validation_auc": found["all", "overall"], **named}
