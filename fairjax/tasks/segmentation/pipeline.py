"""Prompted segmentation, top to bottom: dataset → objects → tuned decoders → masks of all prompts →
scores → report.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from fairjax import report
from fairjax.datasets import splits
from fairjax.models import zoo
from fairjax.segmentation import evaluate, infer
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.tasks import setup, tables, workdir
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
    check,
    cohort,
    find,
    load_segmenter,
    of_units,
    sample,
    settings,
)
from fairjax.tasks.setup import Config


def run(
    config: Config, path: Path, cache: Path, *, command: str = "", show_progress: bool = True
) -> Path:
    """Runs an experiment, or what of it is not done yet; see
    `fairjax.tasks.classification.pipeline.run`.
    """
    with workdir.opened(path, config, command) as work:
        check(config)
        words, show = config["prompting"], show_progress
        rule, plan, scoring = settings(config)
        tuning = mitigation.settings(config)

        # ----------------------------------------------------------------------------------------------
        # dataset
        with work.stage("dataset") as said:
            dataset, names = setup.load_dataset(config)
            dataset = sample(dataset, words["most_images"], config["seed"])
            said.update(name=dataset.name, images=len(dataset), units=dataset.n_patients)

        # ----------------------------------------------------------------------------------------------
        # objects
        with work.stage("objects") as said:
            found, targets = find(dataset, rule, config, show)
            said.update(
                objects=len(found.table),
                without_mask=found.without_mask,
                empty=found.empty,
                unreadable=len(found.unreadable),
            )

        # -------------------------------------------------------------------------------------------
        # mitigation
        segmenter, card = load_segmenter(config)
        task = PromptedTask(targets, found, segmenter, rule, plan, scoring)
        tuned = None
        if tuning:
            with work.stage("mitigation") as said:
                source = mitigation.embed(task, tuning, cache, config, show)
                task = dataclasses.replace(task, source=source)
                of_split, split = mitigation.splits(config, task)
                splits.export(targets, split, path / "split.csv")
                tuned = mitigation.train(of_split, tuning, path / "decoders", config, show)
                tables.write_parquet(path / "runs.parquet", tuned.table())
                said.update(
                    decoders=len(tuned.runs), methods=len({run.method for run in tuned.runs})
                )
                task = of_split["test"]
        targets = task.dataset

        # ------------------------------------------------------------------------------------------------
        # masks
        with work.stage("masks") as said:
            measured = infer.segment(
                task, cache / "segmentations", **config["embedding"], progress=show
            )
            of_methods: dict[str, dict[int, Measured]] = {}
            if tuned:
                of_methods = mitigation.measure(task, tuned, cache, config, show)
            cases_table = evaluate.per_object(measured, plan, scoring.metrics)
            tables.write_parquet(path / "scores" / "objects.parquet", cases_table)
            said.update(
                model=card["model"],
                prompts=len(plan.instances),
                unreadable=len(measured.quarantined),
            )

        # ----------------------------------------------------------------------------------------------
        # metrics
        with work.stage("metrics") as said:
            scored, of_methods = (
                of_units(targets, measured),
                {
                    method: {seed: of_units(targets, one) for seed, one in of_seeds.items()}
                    for method, of_seeds in of_methods.items()
                },
            )
            attributes, patients = cohort(targets, scored, names, words["intersections"])
            options = {name: config["evaluation"][name] for name in ("confidence", "min_group")}
            options |= {"n_boot": config["n_boot"], "seed": config["seed"]}
            ran = list(evaluate.runs(scored, plan, scoring.metrics))
            for method, of_seeds in of_methods.items():
                ran += evaluate.tuned_runs(method, of_seeds, plan, scoring.metrics)
            tidy = evaluate.evaluate(
                ran, scoring.metrics, attributes, patients, progress=show, **options
            )
            facts = {"dataset": dataset.name, "model": card["model"], "usage": USAGE}
            tidy = tidy.assign(**facts, policy=config["evaluation"]["policy"])
            tables.write_parquet(path / "results.parquet", tidy)
            compared = []
            if tuned and tuning:
                pairs = evaluate.differences(
                    ran, scoring.metrics, attributes, patients, mitigation.BASELINES, **options
                )
                tables.write_csv(path / "differences.csv", pairs)
                compared = mitigation.notes(tuning, tuned.table(), pairs, words["shown"], SELECTION)
            said.update(rows=len(tidy), replicates=config["n_boot"])

        # -----------------------------------------------------------------------------------------------
        # report
        with work.stage("report") as said:
            shown = evaluate.run_name(words["shown"], SELECTION)
            of_objects = cohort(targets, measured, names, False)[0]
            data = report.ReportData(
                title=f"{zoo.MODELS[card['model']].title} prompted on {dataset.name}",
                command=command,
                config=dict(config),
                environment=work.environment,
                dataset=dataset_facts(task, scored),
                model=setup.model_facts(card),
                cohort=pd.DataFrame(),
                results=tidy,
                run=shown,
                curves={},
                thresholds={},
                notes=notes(dataset, task, measured, config) + compared,
                sample="volume" if "volume" in targets.table else "object",
                values=by_group(attributes, shown_values(task, scored, shown)),
                cases=worst_cases(task, measured, of_objects, config),
            )
            tables.write_csv(path / "summary.csv", summary(tidy))
            if config["evaluation"]["policy"] == "compat":
                tables.write_csv(path / "compat.csv", compat_summary(task, scored, attributes))
            page = report.write(path / "report", data)
            said.update(page=str(page))
    print(report.console_table(data, metrics=scoring.metrics))
    print(f"report: {page}")
    return page


def describe(config: Config, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    check(config)
    rule, plan, scoring = settings(config)
    dataset, names = setup.load_dataset(config)
    dataset = sample(dataset, config["prompting"]["most_images"], config["seed"])
    found, targets = find(dataset, rule, config, False)
    segmenter, card = load_segmenter(config)
    task = PromptedTask(targets, found, segmenter, rule, plan, scoring)
    tuning, more = mitigation.settings(config), {}
    if tuning:
        of_split, _ = mitigation.splits(config, task)
        more, task = mitigation.describe(tuning, of_split), of_split["test"]
    targets, found = task.dataset, task.objects
    options = {name: config["embedding"][name] for name in ("batch_size", "shard_batches")}
    store = infer.open_cache(task, cache / "segmentations", **options)
    missing = sum(map(len, store.missing()))
    lines = {
        "dataset": f"{dataset.name}: {len(dataset)} images of {dataset.n_patients} units",
        "objects": f"{len(found.table)} in {len(targets)} images; {found.without_mask} images have no mask, "
        f"{found.empty} masks are empty",
        "attributes": ", ".join(names),
        "model": f"{card['model']} at {segmenter.transform.preprocess.size} pixels",
        "prompts": f"{len(plan.instances)} for each object: {', '.join(plan.kinds)}; random ones {plan.draws} times",
        **more,
        "masks": f"{missing} images to segment, {len(targets) - missing} in the cache {store.folder}",
        "metrics": f"{config['n_boot']} bootstrap replicates over units",
        "work directory": str(path),
    }
    return "\n".join(f"{name:15s} {text}" for name, text in lines.items())
