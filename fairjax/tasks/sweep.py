"""A sweep over datasets × models, top to bottom: an experiment each, then one table of all.

Whatever else differs (usages, methods, attributes, hyper-parameters, seeds) is in each experiment:
`fairjax.tasks.classification.pipeline`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from fairjax.tasks import tables
from fairjax.tasks.classification import pipeline
from fairjax.tasks.config import SweepConfig, SweptDataset, SweptModel
from fairjax.tasks.failures import Failures
from fairjax.utils import distributed
from fairjax.utils.environment import environment
from fairjax.utils.errors import UserError
from fairjax.utils.storage import write_json

TABLES = ("results.parquet", "runs.parquet", "methods.parquet")


def run(
    config: SweepConfig, path: Path, cache: Path, *, command: str = "", progress: bool = True
) -> Path:
    """Runs every experiment, or what of them is not done yet; one that fails does not stop the
    others.

    Args:
      config: the configuration (`configs/sweep.py`).
      path: the work directory: a folder for each experiment, and `results.parquet`, `runs.parquet`
        and `methods.parquet` of all.
      cache: the folder of embeddings.
      command: what reproduces it.
      progress: whether to show bars.

    Returns:
      The path of the table of results.

    Raises:
      UserError: no experiment can be run; or some failed, after all others are done.
    """
    names, failures = [], Failures(path, "experiment")
    for dataset, model, experiment in config.experiments():
        name = f"{dataset}-{model}"
        names.append(name)
        print(f"experiment {name}", flush=True)
        with failures.of(name), advice_for(config, dataset, model):
            pipeline.run(experiment, path / name, cache, command=command, progress=progress)
    if not any((path / name / TABLES[0]).exists() for name in names):
        failures.raise_if_all(len(names))
    if distributed.is_first():
        for table in TABLES:
            found = [path / name / table for name in names if (path / name / table).exists()]
            if found:
                rows = tables.combine(found, path / table)
                print(f"{path / table}: {rows:,} rows of {len(found)} experiments")
        write_json(path / "environment.json", environment(command))
    failures.raise_if_any()
    return path / "results.parquet"


def describe(config: SweepConfig, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    parts = []
    for dataset, model, experiment in config.experiments():
        name = f"{dataset}-{model}"
        with advice_for(config, dataset, model):
            text = pipeline.describe(experiment, path / name, cache)
        parts.append(f"experiment {name}\n{text}")
    return "\n\n".join(parts)


@contextlib.contextmanager
def advice_for(config: SweepConfig, dataset: str, model: str) -> Iterator[None]:
    """Names the sweep's own keys in errors: `--config.datasets.NAME.root` for
    `--config.dataset.root`.
    """
    options = config.datasets[dataset].options
    own = {
        "dataset": (f"datasets.{dataset}", (SweptDataset, options)),
        "model": (f"models.{model}", (SweptModel,)),
    }

    def renamed(key: re.Match[str]) -> str:
        section, classes = own[key[1]]
        known = {field.name for of in classes for field in dataclasses.fields(of)}
        return f"--config.{section}.{key[2]}" if key[2] in known else key[0]

    try:
        yield
    except UserError as error:
        text = re.sub(r"--config\.(dataset|model)\.(\w+)", renamed, str(error))
        raise UserError(text) from error
