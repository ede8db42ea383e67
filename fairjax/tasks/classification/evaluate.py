"""From the scores of a sweep to the tidy table of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairjax import __version__
from fairjax.datasets.dataset import Dataset
from fairjax.metrics.threshold import choose_threshold
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.statistics.selection import GROUP_AUC
from fairjax.tasks.tables import COLUMNS, write_parquet
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.utils import plugins, progress
from fairjax.utils.storage import hash_arrays, hash_json

RUN_COLUMNS = ["run", "seed", "learning_rate", "weight_decay", "strength", "run_id"]
SCORED = ("auc", "bce", "ece")  # metrics of scores, which decisions are not


def evaluate(
    sweep: Sweep,
    name: str,
    validation: Dataset,
    test: Dataset,
    attributes: list[str],
    facts: Mapping[str, str],
    config: Mapping[str, Any],
    folder: Path,
    *,
    decisions: bool = False,
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
) -> Iterator[Part]:
    """Evaluates every run on the test split, at the threshold that its validation scores choose.

    Args:
      sweep: trained heads with their scores.
      name: of the cell, which begins the names of its runs.
      validation, test: the images that the scores belong to.
      attributes: whose groups to compare.
      facts: constant columns: dataset, model, usage, method, sensitive.
      config: the experiment's; `n_boot`, `seed` and `evaluation` count here.
      folder: where finished chunks are kept.
      decisions: whether scores are decisions, 0 or 1, which have no metrics of `SCORED`, and the
        threshold 1/2.
      share: (index, count) of the process: it evaluates the chunks index, index + count, …
      show_progress: whether to show a bar.

    Yields:
      The files of each chunk, also of those that are another process's.
    """
    groups = {attribute: test.groups(attribute) for attribute in attributes}
    settings = {**config["evaluation"], "n_boot": config["n_boot"], "seed": config["seed"]}
    if decisions:
        settings["threshold"] = "0.5"
    cohort = {key: codes for key, (codes, _) in groups.items()} | {
        "patients": test.patients(),
        "labels": test.labels,
    }
    names = {key: group_names for key, (_, group_names) in groups.items()}
    identity = [
        __version__,
        plugins.codes("metric", "postprocessor", "usage"),
        sweep.folder.name,
        sweep.pool,
        dict(facts),
        settings,
        names,
        hash_arrays(cohort),
    ]
    folder = folder / hash_json(identity)[:12]
    with progress.bar(f"evaluating {name}", "run", len(sweep.runs), show=show_progress) as bar:
        for index, chunk in enumerate(sweep.chunks):
            runs = [run for run in sweep.runs if run.name in set(chunk.names)]
            key = hash_json([run.name for run in runs])[:12]
            part = Part(folder / f"results-{key}.parquet", folder / f"runs-{key}.parquet")
            if index % share[1] == share[0] and not (part.results.exists() and part.runs.exists()):
                loaded, arrays = sweep.load(chunk)
                ids = [
                    hash_json([sweep.folder.name, facts["method"], facts["sensitive"], run.name])[
                        :16
                    ]
                    for run in loaded
                ]
                run_table = _run_table(
                    loaded, name, ids, arrays, validation, attributes, settings["threshold"]
                )
                tidy = _evaluate_chunk(arrays, run_table, test, groups, settings, bar.update)
                tidy = tidy.assign(**facts, policy=settings["policy"])[COLUMNS]
                write_parquet(part.runs, run_table.assign(**facts))
                write_parquet(
                    part.results, without_scores(tidy, [facts["method"]] if decisions else [])
                )
            else:
                bar.update(len(runs))
            yield part


class Part(NamedTuple):
    """The files of an evaluated chunk: tidy results (`COLUMNS`), and one row per run."""

    results: Path
    runs: Path


def without_scores(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """A table without the metrics that decisions do not have, of methods that give decisions."""
    return table[~(table["method"].isin(methods) & table["metric"].isin(SCORED))].reset_index(
        drop=True
    )


def _run_table(
    runs: list[Run],
    name: str,
    ids: list[str],
    arrays: Mapping[str, np.ndarray],
    validation: Dataset,
    attributes: list[str],
    threshold: str,
) -> pd.DataFrame:
    """One row per run: hyper-parameters, threshold, and what the validation split says of it."""
    scores = arrays["validation_scores"]
    table = {
        "run": [f"{name} {run.name}" for run in runs],
        "seed": [run.seed for run in runs],
        "learning_rate": [run.learning_rate for run in runs],
        "weight_decay": [run.weight_decay for run in runs],
        "strength": np.array(
            [np.nan if run.strength is None else run.strength for run in runs], float
        ),
        "run_id": ids,
        "threshold": np.asarray(choose_threshold(scores, validation.labels, threshold)),
        "validation_loss": arrays["validation_loss"],
        "best_epoch": arrays["best_epoch"],
        **_aucs(scores, validation, attributes),
    }
    return pd.DataFrame(table)


def _evaluate_chunk(
    arrays: Mapping[str, np.ndarray],
    runs: pd.DataFrame,
    test: Dataset,
    groups: dict[str, tuple[np.ndarray, list[str]]],
    settings: Mapping[str, Any],
    advance: Callable[[int], object],
) -> pd.DataFrame:
    options = {name: settings[name] for name in ("n_boot", "seed", "confidence", "min_group")}
    thresholds = runs["threshold"].to_numpy()
    columns = evaluate_runs(
        arrays["test_scores"],
        test.labels,
        groups,
        thresholds,
        test.patients(),
        progress=advance,
        **options,
    )
    tidy = pd.DataFrame(columns)
    position = tidy.pop("run")
    return tidy.assign(**{name: runs[name].to_numpy()[position] for name in RUN_COLUMNS})


def _aucs(
    scores_rn: Float[np.ndarray, "r n"], split: Dataset, attributes: list[str]
) -> dict[str, Float[np.ndarray, " r"]]:
    """`validation_auc` overall, and of each group of each attribute."""
    groups = {attribute: split.groups(attribute) for attribute in attributes}
    columns = evaluate_runs(
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
