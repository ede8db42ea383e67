"""A sweep over datasets × models, top to bottom: an experiment each, then one table of all.

Whatever else differs (usages, methods, attributes, hyper-parameters, seeds) is in each experiment:
`fairjax.tasks.classification.pipeline`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairjax.tasks import tables
from fairjax.tasks.classification import pipeline
from fairjax.tasks.failures import Failures
from fairjax.tasks.setup import Config
from fairjax.utils import distributed
from fairjax.utils.environment import environment
from fairjax.utils.errors import UserError
from fairjax.utils.storage import write_json

TABLES = ("results.parquet", "runs.parquet", "methods.parquet")


def experiments(config: Config) -> Iterator[tuple[str, Config]]:
    """The name and configuration of every experiment.

    Raises:
      UserError: there are no datasets, or no models.
    """
    for key in ("datasets", "models"):
        if not config[key]:
            raise UserError(
                f"a sweep needs {key}: --config=configs/sweep.py:datasets=isic2017+ham10000,models=mobile_sam"
            )
    shared = {key: value for key, value in config.items() if key not in ("datasets", "models")}
    for dataset, about_dataset in config["datasets"].items():
        for model, about_model in config["models"].items():
            words: dict[str, Any] = {
                **shared,
                "task": "classification",
                "attributes": about_dataset["attributes"] or shared["attributes"],
                "dataset": {
                    **shared["dataset"],
                    **_without(about_dataset, "attributes"),
                    "name": dataset,
                },
                "model": {**shared["model"], **about_model, "name": model},
            }
            yield f"{dataset}-{model}", words


def run(
    config: Config, path: Path, cache: Path, *, command: str = "", show_progress: bool = True
) -> Path:
    """Runs every experiment, or what of them is not done yet; one that fails does not stop the
    others.

    Args:
      config: the resolved configuration (`configs/sweep.py`).
      path: the work directory: a folder for each experiment, and `results.parquet`, `runs.parquet`
        and `methods.parquet` of all.
      cache: the folder of embeddings.
      command: what reproduces it.
      show_progress: whether to show bars.

    Returns:
      The path of the table of results.

    Raises:
      UserError: no experiment can be run; or some failed, after all others are done.
    """
    planned = list(experiments(config))
    failures = Failures(path, "experiment")
    for name, words in planned:
        print(f"experiment {name}", flush=True)
        with failures.of(name):
            pipeline.run(words, path / name, cache, command=command, show_progress=show_progress)
    if not any((path / name / TABLES[0]).exists() for name, _ in planned):
        failures.raise_if_all(len(planned))
    if distributed.is_first():
        for table in TABLES:
            found = [path / name / table for name, _ in planned if (path / name / table).exists()]
            if found:
                rows = tables.combine(found, path / table)
                print(f"{path / table}: {rows:,} rows of {len(found)} experiments")
        write_json(path / "environment.json", environment(command))
    failures.raise_if_any()
    return path / "results.parquet"


def describe(config: Config, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    said = (
        f"experiment {name}\n{pipeline.describe(words, path / name, cache)}"
        for name, words in experiments(config)
    )
    return "\n\n".join(said)


def _without(words: Config, key: str) -> dict[str, Any]:
    return {name: value for name, value in words.items() if name != key}
