"""From the scores of a sweep to the tidy table of results."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairjax import __version__, progress
from fairjax.datasets.dataset import Dataset
from fairjax.io import atomic_write, hash_arrays, hash_json, write_text
from fairjax.metrics.threshold import choose_threshold
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.training.runs import Run
from fairjax.training.sweep import Sweep

COLUMNS = [
    "run",
    "dataset",
    "model",
    "usage",
    "method",
    "attribute",
    "seed",
    "learning_rate",
    "weight_decay",
    "policy",
    "metric",
    "group",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "n_positive",
    "status",
    "n_invalid",
]


def evaluate(
    sweep: Sweep,
    validation: Dataset,
    test: Dataset,
    attributes: list[str],
    facts: Mapping[str, str],
    config: Mapping[str, Any],
    folder: Path,
    *,
    show_progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluates every run on the test split, at the threshold that its validation scores choose.

    Args:
      sweep: trained heads with their scores.
      validation, test: the images that the scores belong to.
      attributes: whose groups to compare.
      facts: constant columns: dataset, model, usage, method.
      config: the experiment's; `n_boot`, `seed` and `evaluation` count here.
      folder: where finished chunks are kept.
      show_progress: whether to show a bar.

    Returns:
      The tidy results (`COLUMNS`), and one row per run: its name, hyper-parameters, threshold and validation AUC.
    """
    groups = {attribute: test.groups(attribute) for attribute in attributes}
    settings = {**config["evaluation"], "n_boot": config["n_boot"], "seed": config["seed"]}
    cohort = {name: codes for name, (codes, _) in groups.items()} | {"patients": test.patients(), "labels": test.labels}
    names = {name: group_names for name, (_, group_names) in groups.items()}
    identity = [__version__, sweep.folder.name, sweep.pool, dict(facts), settings, names, hash_arrays(cohort)]
    folder = folder / hash_json(identity)[:12]
    tidy, runs = [], []
    with progress.bar("evaluating", "run", len(sweep.runs), show=show_progress) as bar:
        for index, (chunk, arrays) in enumerate(sweep):
            paths = [folder / f"{kind}-{index:05d}.parquet" for kind in ("results", "runs")]
            if not all(path.exists() for path in paths):
                tables = _evaluate_chunk(chunk, arrays, validation, test, groups, facts, settings, bar.update)
                for path, table in zip(paths, tables):
                    write_parquet(path, table)
            else:
                bar.update(len(chunk))
            tidy.append(pd.read_parquet(paths[0]))
            runs.append(pd.read_parquet(paths[1]))
    return pd.concat(tidy, ignore_index=True), pd.concat(runs, ignore_index=True)


def _evaluate_chunk(
    chunk: list[Run],
    arrays: dict[str, np.ndarray],
    validation: Dataset,
    test: Dataset,
    groups: dict[str, tuple[np.ndarray, list[str]]],
    facts: Mapping[str, str],
    settings: Mapping[str, Any],
    advance: Callable[[int], object],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    thresholds = np.asarray(choose_threshold(arrays["validation_scores"], validation.labels, settings["threshold"]))
    options = {name: settings[name] for name in ("n_boot", "seed", "confidence", "min_group")}
    columns = evaluate_runs(
        arrays["test_scores"], test.labels, groups, thresholds, test.patients(), progress=advance, **options
    )
    runs = pd.DataFrame(
        {
            "run": [run.name for run in chunk],
            "seed": [run.seed for run in chunk],
            "learning_rate": [run.learning_rate for run in chunk],
            "weight_decay": [run.weight_decay for run in chunk],
            "threshold": thresholds,
            "validation_auc": _auc(arrays["validation_scores"], validation),
            "validation_loss": arrays["validation_loss"],
            "best_epoch": arrays["best_epoch"],
        }
    )
    tidy = pd.DataFrame(columns)
    position = tidy.pop("run")
    for name in ("run", "seed", "learning_rate", "weight_decay"):
        tidy[name] = runs[name].to_numpy()[position]
    return tidy.assign(**facts, policy=settings["policy"])[COLUMNS], runs


def _auc(scores_rn: Float[np.ndarray, "r n"], split: Dataset) -> Float[np.ndarray, " r"]:
    columns = evaluate_runs(
        scores_rn,
        split.labels,
        {},
        np.full(len(scores_rn), 0.5),
        split.patients(),
        metrics=("auc",),
        n_boot=0,
        min_group=1,
    )
    return np.asarray(columns["value"])


def select(runs: pd.DataFrame) -> pd.Series:
    """The run that is reported.

    Its hyper-parameters have the highest validation AUC on average over seeds, and its seed has the median validation
    AUC among theirs: no seed is picked for its luck.
    """
    setting = ["learning_rate", "weight_decay"]
    best = runs.groupby(setting)["validation_auc"].mean().idxmax()
    seeds = runs[(runs[setting] == list(best)).all(axis=1)].sort_values(["validation_auc", "seed"])
    return seeds.iloc[len(seeds) // 2]


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Writes a table atomically."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes a table for people, atomically."""
    write_text(path, table.to_csv(index=False))
