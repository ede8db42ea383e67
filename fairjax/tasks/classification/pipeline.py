"""Classification, top to bottom: dataset → embeddings → sweeps of heads → metrics with intervals →
report.

Prompted segmentation is another task (`fairjax/tasks/segmentation/pipeline.py`), and a sweep over
datasets and models runs this one many times (`fairjax/tasks/sweep.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fairjax import embeddings, report
from fairjax.datasets import splits
from fairjax.datasets.dataset import SPLITS
from fairjax.statistics import selection
from fairjax.statistics.methods import compare_methods
from fairjax.tasks import setup, tables, workdir
from fairjax.tasks.classification import facts, grid
from fairjax.tasks.classification.condition import Condition
from fairjax.tasks.classification.evaluate import Evaluator, Part, without_scores
from fairjax.tasks.classification.subject import Subject
from fairjax.tasks.config import ClassificationConfig
from fairjax.tasks.failures import Failures
from fairjax.training.store import Sweep
from fairjax.utils import distributed
from fairjax.utils.storage import hash_json


def run(
    config: ClassificationConfig,
    path: Path,
    cache: Path,
    *,
    command: str = "",
    progress: bool = True,
) -> Path:
    """Runs an experiment, or what of it is not done yet.

    Args:
      config: the configuration; `docs/config.md` has every key.
      path: the work directory.
      cache: the folder of embeddings, shared by work directories.
      command: what reproduces the run, for the report.
      progress: whether to show bars.

    Returns:
      The path of the report.

    Raises:
      UserError: a mistake in the settings or the data, in one line; or conditions that failed,
        after all others are done.
    """
    shard, cfg = distributed.process(), config.evaluation
    with workdir.opened(path, config, command) as work:
        conditions = grid.expand(config)
        subject = Subject(config, cache, shard, progress)

        # ------------------------------------------------------------------------------------------
        # dataset
        with work.stage("dataset") as log:
            dataset, split = subject.dataset, subject.splits
            work.notes(dataset.info.get("notes", ()))
            if work.first:
                splits.export(dataset, split, path / "split.csv")
            log.update(
                name=dataset.name,
                images=len(dataset),
                patients=dataset.n_patients,
                positive=int(dataset.labels.sum()),
            )

        # ------------------------------------------------------------------------------------------
        # embeddings
        with work.stage("embeddings") as log:
            check(conditions, subject)
            embedded, card = subject.embedded, subject.card
            log.update(
                model=card["model"],
                width=embedded.features.shape[1],
                unreadable=len(embedded.quarantined),
            )

        # ------------------------------------------------------------------------------------------
        # training
        failures, sweeps = Failures(path), dict[Condition, Sweep]()
        with work.stage("training") as log:
            for condition in conditions:
                with failures.of(condition.name):
                    usage, scores = condition.usage, path / "scores"
                    directory = scores / hash_json(usage.code)[:12] if usage.code else scores
                    sweeps[condition] = usage.train(condition, subject, directory)
            if work.first:
                samples = dataset.table.assign(split=split, readable=embedded.valid)
                tables.write_parquet(path / "scores" / "samples.parquet", samples)
            failures.raise_if_all(len(conditions))
            log.update(
                conditions=len(sweeps), runs=sum(len(sweep.runs) for sweep in sweeps.values())
            )

        # ------------------------------------------------------------------------------------------
        # metrics
        with work.stage("metrics") as log:
            images = {name: dataset.take((split == name) & embedded.valid) for name in SPLITS}
            validation, test = images["validation"].by_volume(), images["test"].by_volume()
            names = {"dataset": dataset.name, "model": card["model"]}
            evaluator = Evaluator(
                config, validation, test, names, path / "evaluation", shard, progress
            )
            parts: list[Part] = []
            for condition, sweep in sweeps.items():
                sweep = setup.by_volume(sweep, images, config.dataset.aggregate_slices)
                sweep = grid.postprocessed(condition, sweep, validation, test, config.seed)
                sweeps[condition] = sweep
                parts += evaluator.evaluate(condition, sweep)
            distributed.barrier(f"evaluated {path}")
            if not work.first:
                return path / "report" / "index.html"
            left_out = tables.combine_runs([part.runs for part in parts], path / "runs.parquet")
            rows = tables.combine([part.results for part in parts], path / "results.parquet")
            log.update(rows=rows, replicates=config.n_boot)
            if left_out:
                log["left_out"] = (
                    f"{left_out} runs of earlier settings, which stay on disk and are in no table"
                )

        # ------------------------------------------------------------------------------------------
        # methods
        with work.stage("methods") as log:
            runs = pd.read_parquet(path / "runs.parquet")
            selected = selection.represent(runs, config.training.select)
            compared = None
            if len(sweeps) > 1:
                compared = compare_methods(
                    _scores(sweeps, selected),
                    selected,
                    test.labels,
                    {attribute: test.groups(attribute) for attribute in config.attributes},
                    selected.set_index("run_id")["threshold"],
                    test.patients(),
                    metrics=cfg.metrics,
                    n_boot=config.n_boot,
                    seed=config.seed,
                    confidence=cfg.confidence,
                    min_group=cfg.min_group,
                )
                decided = [condition.facts["method"] for condition in sweeps if condition.decides]
                compared = without_scores(compared, decided)
                named = compared.assign(**names)[[*names, *compared]]
                tables.write_parquet(path / "methods.parquet", named)
            shown = selection.median_seed(selected[_of(selected, next(iter(sweeps)))])
            log.update(methods=len(sweeps), shown=shown["run"])

        # ------------------------------------------------------------------------------------------
        # report
        with work.stage("report") as log:
            tidy = tables.for_report(path / "results.parquet", [shown["run"]], cfg.primary)
            notes = facts.notes(subject, shown["run"], sweeps) + failures.notes()
            feature = f"{card['probe_feature']} ({card['probe_width']} numbers)"
            data = report.ReportData(
                title=facts.title(sweeps, card["model"], dataset.name),
                command=command,
                config=config.to_dict(),
                environment=work.environment,
                dataset=facts.dataset_facts(dataset, embedded),
                model=setup.model_facts(card, feature=feature),
                cohort=dataset.cohort(split),
                results=tidy,
                run=shown["run"],
                curves=facts.curves(*_shown(sweeps, shown), test, config.attributes),
                thresholds={"rule": cfg.threshold, "value": float(shown["threshold"])},
                primary=cfg.primary,
                notes=notes,
                methods=compared,
            )
            tables.write_csv(path / "summary.csv", report.summary_table(tidy, shown["run"]))
            page = report.write(path / "report", data)
            log.update(page=str(page))
    print(report.console_table(data))
    if compared is not None:
        print(report.console_methods(compared, name=cfg.primary, confidence=cfg.confidence))
    print(f"report: {page}")
    failures.raise_if_any()
    return page


def describe(config: ClassificationConfig, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it; what `run` would refuse is refused."""
    subject, conditions = Subject(config, cache), grid.expand(config)
    check(conditions, subject)
    cfg, dataset, card = config.embedding, subject.dataset, subject.card
    store = embeddings.open_cache(
        dataset,
        subject.encoder,
        cache / "embeddings",
        batch_size=cfg.batch_size,
        shard_batches=cfg.shard_batches,
    )
    missing = sum(map(len, store.missing()))
    forecasts = {
        condition.name: condition.usage.forecast(condition, subject) for condition in conditions
    }
    programs = len({forecast.program for forecast in forecasts.values()})
    flops = sum(forecast.flops for forecast in forecasts.values())
    runs = sum(len(condition.runs) for condition in conditions)
    counts = ", ".join(f"{name} {count}" for name, count in subject.sizes.items())
    rows = {
        "dataset": f"{dataset.name}: {len(dataset)} images ({dataset.labels.sum()} positive) of "
        f"{dataset.n_patients} patients; {counts}",
        **setup.notes_of(dataset),
        "attributes": ", ".join(config.attributes),
        "model": f"{card['model']}: {card['probe_width']} features",
        "embeddings": f"{missing} images to embed, {len(dataset) - missing} in the cache "
        f"{store.directory}",
        "conditions": f"{len(conditions)}, {programs} programs, {runs:,} runs, "
        f"{flops / 1e9:,.1f} GFLOP",
        **{f"  {name}": forecast.text for name, forecast in forecasts.items()},
        "metrics": f"{', '.join(config.evaluation.metrics)}; {config.n_boot} bootstrap replicates "
        "over patients, shared by all runs",
        "work directory": str(path),
    }
    return tables.aligned(rows)


def check(conditions: list[Condition], subject: Subject) -> None:
    """Refuses what could only fail later, after the images were embedded.

    Raises:
      UserError: a usage is not for the model or the dataset, or does not go with a method.
    """
    for condition in conditions:
        condition.usage.check(condition, subject)


def _of(runs: pd.DataFrame, condition: Condition) -> pd.Series:
    """Which rows are runs of a condition."""
    return (runs[list(condition.facts)] == list(condition.facts.values())).all(axis=1)


def _shown(sweeps: dict[Condition, Sweep], run: pd.Series) -> tuple[Sweep, str]:
    """The sweep that a run of the table is of, and the run's name in it."""
    for condition, sweep in sweeps.items():
        if _of(run.to_frame().T, condition).all():
            return sweep, run["run"].removeprefix(f"{condition.name} ")
    raise KeyError(run["run"])


def _scores(
    sweeps: dict[Condition, Sweep], selected: pd.DataFrame
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids of the selected runs and their scores on the test split, a chunk at a time."""
    for condition, sweep in sweeps.items():
        ids = selected[_of(selected, condition)].set_index("run")["run_id"]
        for runs, arrays in sweep:
            names = [f"{condition.name} {run.name}" for run in runs]
            rows = [row for row, name in enumerate(names) if name in ids.index]
            if rows:
                yield [ids[names[row]] for row in rows], arrays["test_scores"][rows]
