"""The data's way, top to bottom: dataset → embeddings → sweeps of heads → metrics with intervals →
report.

Prompted segmentation goes another way (`fairjax/tasks/segmentation/pipeline.py`), and a sweep over
datasets and models this way many times (`fairjax/tasks/sweep.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairjax import embeddings, report
from fairjax.datasets import splits
from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.embeddings import Embeddings
from fairjax.statistics import selection
from fairjax.statistics.methods import compare_methods
from fairjax.tasks import setup, tables, workdir
from fairjax.tasks.classification import grid, usages
from fairjax.tasks.classification.condition import Cell
from fairjax.tasks.classification.evaluate import Part, evaluate, without_scores
from fairjax.tasks.classification.usages import Subject
from fairjax.tasks.failures import Failures
from fairjax.tasks.setup import Config
from fairjax.training.postprocessing.sweep import Postprocessed
from fairjax.training.store import Sweep
from fairjax.utils import distributed

PRIMARY = "auc"
SELECTED_BY = {
    "overall": "the highest mean AUC",
    "minimax": "the highest mean AUC of the worst group",
    "dto": "the least distance of the groups' mean AUCs from the best of each",
}


def run(
    config: Config, path: Path, cache: Path, *, command: str = "", show_progress: bool = True
) -> Path:
    """Runs an experiment, or what of it is not done yet.

    Args:
      config: the resolved configuration (`configs/common.py` has every key).
      path: the work directory.
      cache: the folder of embeddings, shared by work directories.
      command: what reproduces the run, for the report.
      show_progress: whether to show bars.

    Returns:
      The path of the report.

    Raises:
      UserError: a mistake in the settings or the data, in one line; or cells that failed, after all
        others are done.
    """
    share = distributed.process()
    with workdir.opened(path, config, command) as work:
        setup.check(config)
        plan = grid.expand_cells(config, setup.attribute_names(config))

        # ----------------------------------------------------------------------------------------------
        # dataset
        with work.stage("dataset") as said:
            dataset, attributes = setup.load_dataset(config)
            side = setup.split_dataset(config, dataset)
            if work.first:
                splits.export(dataset, side, path / "split.csv")
            said.update(
                name=dataset.name,
                images=len(dataset),
                units=dataset.n_patients,
                positive=int(dataset.labels.sum()),
            )

        # -------------------------------------------------------------------------------------------
        # embeddings
        with work.stage("embeddings") as said:
            encoder, card = setup.load_encoder(config)
            directory, _ = setup.find_model(config)
            embedded = embeddings.embed(
                dataset,
                encoder,
                cache / "embeddings",
                **config["embedding"],
                shard=share,
                progress=show_progress,
            )
            said.update(
                model=card["model"],
                width=embedded.features.shape[1],
                unreadable=len(embedded.quarantined),
            )

        # -------------------------------------------------------------------------------------------------
        # heads
        failures = Failures(path)
        sweeps: dict[Cell, Sweep] = {}
        subject = Subject(
            dataset,
            side,
            encoder,
            card["model"],
            directory,
            embedded,
            cache,
            config,
            share,
            show_progress,
        )
        with work.stage("training") as said:
            for cell in plan:
                with failures.of(cell.name):
                    sweeps[cell] = usages.train(cell, subject, path / "scores")
            samples = dataset.table.assign(split=side, readable=embedded.valid)
            if work.first:
                tables.write_parquet(path / "scores" / "samples.parquet", samples)
            failures.raise_if_all(len(plan))
            said.update(cells=len(sweeps), runs=sum(len(sweep.runs) for sweep in sweeps.values()))

        # -----------------------------------------------------------------------------------------------
        # metrics
        with work.stage("metrics") as said:
            validation, test = (
                dataset.take((side == name) & embedded.valid) for name in ("validation", "test")
            )
            pool, facts = (
                config["dataset"]["pool"],
                {"dataset": dataset.name, "model": card["model"]},
            )
            whole_validation, whole_test = validation.by_volume(), test.by_volume()
            parts: list[Part] = []
            for cell in list(sweeps):
                sweep = setup.by_volume(sweeps[cell], validation, test, pool)
                sweeps[cell] = grid.postprocessed(
                    cell, sweep, whole_validation, whole_test, config["seed"]
                )
                parts += evaluate(
                    sweeps[cell],
                    cell.name,
                    whole_validation,
                    whole_test,
                    attributes,
                    {**facts, **cell.facts},
                    config,
                    path / "evaluation",
                    decisions=cell.decides,
                    share=share,
                    show_progress=show_progress,
                )
            distributed.barrier(f"evaluated {path}")
            if not work.first:
                return path / "report" / "index.html"
            rows = tables.combine([part.results for part in parts], path / "results.parquet")
            tables.combine([part.runs for part in parts], path / "runs.parquet")
            said.update(rows=rows, replicates=config["n_boot"])

        # -----------------------------------------------------------------------------------------------
        # methods
        with work.stage("methods") as said:
            chosen = selection.represent(
                pd.read_parquet(path / "runs.parquet"), config["training"]["select"]
            )
            compared = None
            if len(sweeps) > 1:
                compared = compare_methods(
                    _scores(sweeps, chosen),
                    chosen,
                    whole_test.labels,
                    {attribute: whole_test.groups(attribute) for attribute in attributes},
                    chosen.set_index("run_id")["threshold"],
                    whole_test.patients(),
                    n_boot=config["n_boot"],
                    seed=config["seed"],
                    confidence=config["evaluation"]["confidence"],
                    min_group=config["evaluation"]["min_group"],
                )
                compared = without_scores(
                    compared, [cell.facts["method"] for cell in sweeps if cell.decides]
                )
                tables.write_parquet(path / "methods.parquet", compared)
            shown = selection.median_seed(chosen[_of(chosen, next(iter(sweeps)))])
            said.update(methods=len(sweeps), shown=shown["run"])

        # ------------------------------------------------------------------------------------------------
        # report
        with work.stage("report") as said:
            tidy = tables.for_report(path / "results.parquet", [shown["run"]], PRIMARY)
            data = report.ReportData(
                title=_title(sweeps, card["model"], dataset.name),
                command=command,
                config=dict(config),
                environment=work.environment,
                dataset=_dataset_facts(dataset, embedded),
                model=setup.model_facts(
                    card, feature=f"{card['probe_feature']} ({card['probe_width']} numbers)"
                ),
                cohort=dataset.cohort(side),
                results=tidy,
                run=shown["run"],
                curves=_curves(sweeps, shown, whole_test, attributes),
                thresholds={
                    "rule": config["evaluation"]["threshold"],
                    "value": float(shown["threshold"]),
                },
                notes=_notes(dataset, embedded, shown, config)
                + _cell_notes(sweeps)
                + failures.notes(),
                methods=compared,
            )
            summary = report.summary_table(tidy, shown["run"])
            tables.write_csv(path / "summary.csv", summary)
            page = report.write(path / "report", data)
            said.update(page=str(page))
    print(report.console_table(data))
    if compared is not None:
        print(report.console_methods(compared))
    print(f"report: {page}")
    failures.raise_if_any()
    return page


def describe(config: Config, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    setup.check(config)
    plan = grid.expand_cells(config, setup.attribute_names(config))
    dataset, attributes = setup.load_dataset(config)
    side = setup.split_dataset(config, dataset)
    encoder, card = setup.load_encoder(config)
    options = {name: config["embedding"][name] for name in ("batch_size", "shard_batches")}
    store = embeddings.open_cache(dataset, encoder, cache / "embeddings", **options)
    missing = sum(map(len, store.missing()))
    counts = {name: int((side == name).sum()) for name in SPLITS}
    planned = {
        cell.name: usages.forecast(cell, dataset, side, card["probe_width"], config)
        for cell in plan
    }
    rows = {
        "dataset": f"{dataset.name}: {len(dataset)} images ({dataset.labels.sum()} positive) of {dataset.n_patients} "
        + "units; "
        + ", ".join(f"{name} {count}" for name, count in counts.items()),
        "attributes": ", ".join(attributes),
        "model": f"{card['model']}: {card['probe_width']} features",
        "embeddings": f"{missing} images to embed, {len(dataset) - missing} in the cache {store.directory}",
        "cells": f"{len(plan)}, {len({forecast.program for forecast in planned.values()})} programs, "
        f"{sum(len(cell.runs) for cell in plan):,} runs, {sum(of.flops for of in planned.values()) / 1e9:,.1f} GFLOP",
        **{f"  {name}": forecast.text for name, forecast in planned.items()},
        "metrics": f"{config['n_boot']} bootstrap replicates over units, shared by all runs",
        "work directory": str(path),
    }
    wide = max(15, *(len(name) for name in rows))
    return "\n".join(f"{name:{wide}s} {text}" for name, text in rows.items())


def _title(sweeps: dict[Cell, Sweep], model: str, dataset: str) -> str:
    usages = {cell.usage.title for cell in sweeps}
    what = f"{next(iter(usages)).capitalize()}s" if len(usages) == 1 else "Usages"
    return f"{what} of {model} on {dataset}"


def _of(runs: pd.DataFrame, cell: Cell) -> pd.Series:
    """Which rows are runs of a cell."""
    return (runs[list(cell.facts)] == list(cell.facts.values())).all(axis=1)


def _scores(
    sweeps: dict[Cell, Sweep], chosen: pd.DataFrame
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids of the chosen runs and their scores on the test split, a chunk at a time."""
    for cell, sweep in sweeps.items():
        ids = chosen[_of(chosen, cell)].set_index("run")["run_id"]
        for runs, arrays in sweep:
            rows = [row for row, run in enumerate(runs) if f"{cell.name} {run.name}" in ids.index]
            if rows:
                yield (
                    [ids[f"{cell.name} {runs[row].name}"] for row in rows],
                    arrays["test_scores"][rows],
                )


def _dataset_facts(dataset: Dataset, embedded: Embeddings) -> dict[str, Any]:
    quarantined = [
        {"image": entry["image"], "reason": entry["reason"]} for entry in embedded.quarantined
    ]
    return {
        "name": dataset.name,
        **dataset.info,
        "n_images": len(dataset),
        "n_patients": dataset.n_patients,
        "quarantined": quarantined,
    }


def _cell_notes(sweeps: dict[Cell, Sweep]) -> list[str]:
    """What cells have to say: groups without a rule of their own, methods that give decisions."""
    notes = [
        f"{cell.name}: {note}"
        for cell, sweep in sweeps.items()
        if isinstance(sweep, Postprocessed)
        for note in sweep.notes()
    ]
    if any(cell.decides for cell in sweeps):
        notes.append(
            "Thresholds of groups give decisions, no scores: they have accuracy and rates, and no AUC, log loss or ECE."
        )
    return notes


def _curves(
    sweeps: dict[Cell, Sweep], shown: pd.Series, test: Dataset, attributes: list[str]
) -> dict[str, dict[str, tuple]]:
    """Scores and labels of one run on the test split, by attribute and group."""
    cell, sweep = next(
        (cell, sweep) for cell, sweep in sweeps.items() if _of(shown.to_frame().T, cell).all()
    )
    scores, labels = sweep.test_scores(shown["run"].removeprefix(f"{cell.name} ")), test.labels
    curves = {"all": {"overall": (scores, labels)}}
    for attribute in attributes:
        codes, names = test.groups(attribute)
        curves[attribute] = {
            name: (scores[codes == code], labels[codes == code]) for code, name in enumerate(names)
        }
    return curves


def _notes(dataset: Dataset, embedded: Embeddings, shown: pd.Series, config: Config) -> list[str]:
    """What a reader of the report must know besides the numbers."""
    rule, pool = SELECTED_BY[config["training"]["select"]], config["dataset"]["pool"]
    notes = [
        f"The run shown is {shown['run']}: of the first cell, the hyper-parameters with {rule} on validation over "
        f"seeds, and of these seeds the one with the median validation AUC. All runs are in results.parquet."
    ]
    if dataset.n_patients == len(dataset):
        notes.append(
            "Every image is its own unit: splits and intervals assume that images are independent."
        )
    if "volume" in dataset.table:
        notes.append(
            f"Slices were embedded and scored; the score of a volume is the {pool} of its slices' scores."
        )
    if embedded.quarantined:
        notes.append(f"{len(embedded.quarantined)} images could not be read and are left out.")
    return notes
