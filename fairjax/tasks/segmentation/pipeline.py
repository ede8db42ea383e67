"""Prompted segmentation, top to bottom: dataset → objects → tuned decoders → masks of all prompts →
metrics with intervals → report.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from fairjax import report
from fairjax.datasets import splits
from fairjax.models import zoo
from fairjax.segmentation import evaluate, infer
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.tasks import setup, tables, workdir
from fairjax.tasks.config import SegmentationConfig
from fairjax.tasks.segmentation import mitigation
from fairjax.tasks.segmentation.results import (
    SELECTION,
    by_group,
    compat_summary,
    dataset_facts,
    notes,
    shown_values,
    summary,
    worst_cases,
)
from fairjax.tasks.segmentation.setup import (
    USAGE,
    check_model,
    cohort,
    find,
    load_segmenter,
    of_volumes,
    prompted,
    sample,
)


def run(
    config: SegmentationConfig,
    path: Path,
    cache: Path,
    *,
    command: str = "",
    progress: bool = True,
) -> Path:
    """Runs an experiment, or what of it is not done yet.

    See `fairjax.tasks.classification.pipeline.run`.
    """
    cfg, embedding, policy = config.prompting, config.embedding, config.evaluation.policy
    with workdir.opened(path, config, command) as work:
        check_model(config.model.name)
        rule, plan, scoring = prompted(config)
        tuning = mitigation.plan_of(config)

        # ------------------------------------------------------------------------------------------
        # dataset
        with work.stage("dataset") as log:
            dataset = sample(setup.load_dataset(config), cfg.max_images, config.seed)
            work.notes(dataset.info.get("notes", ()))
            log.update(name=dataset.name, images=len(dataset), patients=dataset.n_patients)

        # ------------------------------------------------------------------------------------------
        # objects
        with work.stage("objects") as log:
            found, targets = find(dataset, rule, embedding, progress)
            log.update(
                objects=len(found.table),
                without_mask=found.without_mask,
                empty=found.empty,
                unreadable=len(found.unreadable),
            )

        # ------------------------------------------------------------------------------------------
        # mitigation
        segmenter, card = load_segmenter(config.model, policy)
        task = PromptedTask(targets, found, segmenter, rule, plan, scoring)
        tuned = None
        if tuning:
            with work.stage("mitigation") as log:
                source = mitigation.embed(task, tuning, cache, embedding, progress)
                task = dataclasses.replace(task, source=source)
                parts, split = mitigation.split_task(config, task)
                splits.export(targets, split, path / "split.csv")
                decoders = path / "decoders"
                tuned = mitigation.train(parts, source, tuning, decoders, config, progress)
                tables.write_parquet(path / "runs.parquet", tuned.table())
                log.update(
                    decoders=len(tuned.runs), methods=len({run.method for run in tuned.runs})
                )
                task = parts["test"]
        targets = task.dataset

        # ------------------------------------------------------------------------------------------
        # masks
        with work.stage("masks") as log:
            directory = cache / "segmentations"
            measured = infer.segment(
                task, directory, **dataclasses.asdict(embedding), progress=progress
            )
            of_methods: dict[str, dict[int, Measured]] = {}
            if tuned:
                of_methods = mitigation.measure(task, tuned, cache, embedding, progress)
            per_object = evaluate.per_object(measured, plan, cfg.metrics)
            tables.write_parquet(path / "scores" / "objects.parquet", per_object)
            log.update(
                model=card["model"],
                prompts=len(plan.instances),
                unreadable=len(measured.quarantined),
            )

        # ------------------------------------------------------------------------------------------
        # metrics
        with work.stage("metrics") as log:
            scored = of_volumes(targets, measured)
            attributes, patients = cohort(targets, scored, config.attributes, cfg.intersections)
            runs = list(evaluate.runs(scored, plan, cfg.metrics))
            for method, of_seeds in of_methods.items():
                volumes = {seed: of_volumes(targets, one) for seed, one in of_seeds.items()}
                runs += evaluate.tuned_runs(method, volumes, plan, cfg.metrics)
            options: dict[str, Any] = {
                "n_boot": config.n_boot,
                "seed": config.seed,
                "confidence": config.evaluation.confidence,
                "min_group": config.evaluation.min_group,
            }
            tidy = evaluate.evaluate(
                runs, cfg.metrics, attributes, patients, progress=progress, **options
            )
            names = {"dataset": dataset.name, "model": card["model"], "usage": USAGE}
            tidy = tidy.assign(**names, policy=policy)
            tables.write_parquet(path / "results.parquet", tidy)
            compared: list[str] = []
            if tuned and tuning:
                pairs = evaluate.differences(
                    runs, cfg.metrics, attributes, patients, mitigation.BASELINES, **options
                )
                tables.write_csv(path / "differences.csv", pairs)
                compared = mitigation.notes(tuning, tuned.table(), pairs, cfg.primary, SELECTION)
            log.update(rows=len(tidy), replicates=config.n_boot)

        # ------------------------------------------------------------------------------------------
        # report
        with work.stage("report") as log:
            shown = evaluate.run_name(cfg.primary, SELECTION)
            of_objects = cohort(targets, measured, config.attributes, False)[0]
            data = report.ReportData(
                title=f"{zoo.MODELS[card['model']].title} prompted on {dataset.name}",
                command=command,
                config=config.to_dict(),
                environment=work.environment,
                dataset=dataset_facts(task, scored),
                model=setup.model_facts(card),
                cohort=pd.DataFrame(),
                results=tidy,
                run=shown,
                curves={},
                thresholds={},
                notes=notes(dataset, task, measured, cfg) + compared,
                sample="volume" if "volume" in targets.table else "object",
                values=by_group(attributes, shown_values(task, scored, shown)),
                cases=worst_cases(task, measured, of_objects, cfg),
            )
            tables.write_csv(path / "summary.csv", summary(tidy))
            if policy == "compat":
                published = compat_summary(task, scored, attributes)
                tables.write_csv(path / "compat.csv", published)
            page = report.write(path / "report", data)
            log.update(page=str(page))
    print(report.console_table(data, metrics=cfg.metrics))
    print(f"report: {page}")
    return page


def describe(config: SegmentationConfig, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it; what `run` would refuse is refused."""
    cfg, embedding = config.prompting, config.embedding
    check_model(config.model.name)
    rule, plan, scoring = prompted(config)
    tuning = mitigation.plan_of(config)
    dataset = sample(setup.load_dataset(config), cfg.max_images, config.seed)
    found, targets = find(dataset, rule, embedding, False)
    segmenter, card = load_segmenter(config.model, config.evaluation.policy)
    objects = (
        f"{len(found.table)} in {len(targets)} images; {found.without_mask} images have no mask, "
        f"{found.empty} masks are empty"
    )
    more: dict[str, str] = {}
    task = PromptedTask(targets, found, segmenter, rule, plan, scoring)
    if tuning:
        parts, _ = mitigation.split_task(config, task)
        more, task = mitigation.describe(tuning, parts), parts["test"]
    targets = task.dataset
    store = infer.open_cache(
        task,
        cache / "segmentations",
        batch_size=embedding.batch_size,
        shard_batches=embedding.shard_batches,
    )
    missing = sum(map(len, store.missing()))
    cached = f"{len(targets) - missing} in the cache {store.directory}"
    rows = {
        "dataset": f"{dataset.name}: {len(dataset)} images of {dataset.n_patients} patients",
        **setup.notes_of(dataset),
        "objects": objects,
        "attributes": ", ".join(config.attributes),
        "model": f"{card['model']} at {segmenter.transform.preprocess.size} pixels",
        "prompts": f"{len(plan.instances)} for each object: {', '.join(plan.kinds)}; random ones "
        f"{plan.draws} times",
        **more,
        "masks": f"{missing} images to segment, {cached}",
        "metrics": f"{config.n_boot} bootstrap replicates over patients",
        "work directory": str(path),
    }
    return tables.aligned(rows)
