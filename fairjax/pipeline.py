"""The data's way, top to bottom: dataset → embeddings → sweep of probes → metrics with intervals → report.

Prompted segmentation goes another way: `fairjax/segmentation_pipeline.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fairjax import embeddings, experiment, report, results, segmentation_pipeline, workdir
from fairjax.datasets import splits
from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.embeddings import Embeddings
from fairjax.experiment import Config
from fairjax.models.zoo import MODELS
from fairjax.training import sweep as training
from fairjax.training.engine import plan

USAGE, METHOD = "linear_probe", "erm"


def run(config: Config, path: Path, cache: Path, *, command: str = "", show_progress: bool = True) -> Path:
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
      UserError: a mistake in the settings or the data, in one line.
    """
    if config.get("task") == "segmentation":
        return segmentation_pipeline.run(config, path, cache, command=command, show_progress=show_progress)
    with workdir.opened(path, config, command) as work:
        experiment.check(config)

        # ---------------------------------------------------------------------------------------------- dataset
        with work.stage("dataset") as said:
            dataset, attributes = experiment.load_dataset(config)
            side = experiment.split_dataset(config, dataset)
            runs, probe = experiment.sweep_settings(config)
            splits.export(dataset, side, path / "split.csv")
            said.update(
                name=dataset.name, images=len(dataset), units=dataset.n_patients, positive=int(dataset.labels.sum())
            )

        # ------------------------------------------------------------------------------------------- embeddings
        with work.stage("embeddings") as said:
            encoder, card = experiment.load_encoder(config)
            embedded = embeddings.embed(
                dataset, encoder, cache / "embeddings", **config["embedding"], show_progress=show_progress
            )
            said.update(model=card["model"], width=embedded.features.shape[1], unreadable=len(embedded.quarantined))

        # ------------------------------------------------------------------------------------------------ probes
        with work.stage("probes") as said:
            features = experiment.split_features(dataset, embedded, side)
            sweep = training.sweep(
                features,
                runs,
                probe,
                path / "scores",
                seed=config["seed"],
                memory_bytes=config["memory_gib"] * 2**30,
                show_progress=show_progress,
            )
            samples = dataset.table.assign(split=side, readable=embedded.valid)
            results.write_parquet(path / "scores" / "samples.parquet", samples)
            said.update(runs=len(runs), chunks=len(sweep.chunks))

        # ----------------------------------------------------------------------------------------------- metrics
        with work.stage("metrics") as said:
            validation, test = (dataset.take((side == name) & embedded.valid) for name in ("validation", "test"))
            sweep, validation, test = experiment.by_volume(sweep, validation, test, config["dataset"]["pool"])
            facts = {"dataset": dataset.name, "model": card["model"], "usage": USAGE, "method": METHOD}
            tidy, run_table = results.evaluate(
                sweep, validation, test, attributes, facts, config, path / "evaluation", show_progress=show_progress
            )
            chosen = results.select(run_table)
            results.write_parquet(path / "results.parquet", tidy)
            results.write_parquet(path / "runs.parquet", run_table)
            said.update(rows=len(tidy), replicates=config["n_boot"])

        # ------------------------------------------------------------------------------------------------ report
        with work.stage("report") as said:
            data = report.ReportData(
                title=f"Linear probes of {card['model']} on {dataset.name}",
                command=command,
                config=dict(config),
                environment=work.environment,
                dataset=_dataset_facts(dataset, embedded),
                model=_model_facts(card),
                cohort=dataset.cohort(side),
                results=tidy,
                run=chosen["run"],
                curves=_curves(sweep, chosen["run"], test, attributes),
                thresholds={"rule": config["evaluation"]["threshold"], "value": float(chosen["threshold"])},
                notes=_notes(dataset, embedded, chosen, config["dataset"]["pool"]),
            )
            summary = report.summary_table(tidy, chosen["run"])
            results.write_csv(path / "summary.csv", summary)
            page = report.write(path / "report", data)
            said.update(page=str(page))
    print(report.console_table(data))
    print(f"report: {page}")
    return page


def describe(config: Config, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    if config.get("task") == "segmentation":
        return segmentation_pipeline.describe(config, path, cache)
    experiment.check(config)
    dataset, attributes = experiment.load_dataset(config)
    side = experiment.split_dataset(config, dataset)
    runs, probe = experiment.sweep_settings(config)
    encoder, card = experiment.load_encoder(config)
    options = {name: config["embedding"][name] for name in ("batch_size", "shard_batches")}
    store = embeddings.open_cache(dataset, encoder, cache / "embeddings", **options)
    missing = sum(map(len, store.missing()))
    counts = {name: int((side == name).sum()) for name in SPLITS}
    cut = plan(runs, training.make_program(probe), counts, card["probe_width"], config["memory_gib"] * 2**30)
    rows = {
        "dataset": f"{dataset.name}: {len(dataset)} images ({dataset.labels.sum()} positive) of {dataset.n_patients} "
        + "units; "
        + ", ".join(f"{name} {count}" for name, count in counts.items()),
        "attributes": ", ".join(attributes),
        "model": f"{card['model']}: {card['probe_width']} features",
        "embeddings": f"{missing} images to embed, {len(dataset) - missing} in the cache {store.folder}",
        "probes": f"{len(runs)} runs in {cut.chunks} chunks of {cut.width}; {cut.flops / 1e9:,.1f} GFLOP, "
        f"{cut.bytes_per_chunk / 2**20:,.0f} MiB per device",
        "metrics": f"{config['n_boot']} bootstrap replicates over units, shared by all runs",
        "work directory": str(path),
    }
    return "\n".join(f"{name:15s} {text}" for name, text in rows.items())


def _dataset_facts(dataset: Dataset, embedded: Embeddings) -> dict[str, Any]:
    quarantined = [{"image": entry["image"], "reason": entry["reason"]} for entry in embedded.quarantined]
    return {
        "name": dataset.name,
        **dataset.info,
        "n_images": len(dataset),
        "n_patients": dataset.n_patients,
        "quarantined": quarantined,
    }


def _model_facts(card: dict[str, Any]) -> dict[str, Any]:
    row, pixels = MODELS[card["model"]], card["preprocess"]
    return {
        "name": row.name,
        "title": row.title,
        "feature": f"{card['probe_feature']} ({card['probe_width']} numbers)",
        "input": f"{pixels['size']} × {pixels['size']} pixels, {pixels['resize']}, {pixels['interpolation']}",
        "source": card["source"].get("file"),
        "weights_sha256": card["weights_sha256"],
        "citation": row.citation,
        "licence": row.licence,
    }


def _curves(sweep: training.Sweep, run: str, test: Dataset, attributes: list[str]) -> dict[str, dict[str, tuple]]:
    """Scores and labels of one run on the test split, by attribute and group."""
    scores, labels = sweep.test_scores(run), test.labels
    curves = {"all": {"overall": (scores, labels)}}
    for attribute in attributes:
        codes, names = test.groups(attribute)
        curves[attribute] = {name: (scores[codes == code], labels[codes == code]) for code, name in enumerate(names)}
    return curves


def _notes(dataset: Dataset, embedded: Embeddings, chosen: pd.Series, pool: str) -> list[str]:
    """What a reader of the report must know besides the numbers."""
    notes = [
        f"The run shown is {chosen['run']}: the hyper-parameters with the highest mean validation AUC over seeds, "
        f"and of these seeds the one with the median validation AUC. All runs are in results.parquet."
    ]
    if dataset.n_patients == len(dataset):
        notes.append("Every image is its own unit: splits and intervals assume that images are independent.")
    if "volume" in dataset.table:
        notes.append(f"Slices were embedded and scored; the score of a volume is the {pool} of its slices' scores.")
    if embedded.quarantined:
        notes.append(f"{len(embedded.quarantined)} images could not be read and are left out.")
    return notes
