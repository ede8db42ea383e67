"""Prompted segmentation, top to bottom: dataset → objects → masks of all prompts → measures with intervals → report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairjax import experiment, models, report, results, workdir
from fairjax.audit import audit_segmentation
from fairjax.audit.groups import encode
from fairjax.datasets.dataset import Dataset
from fairjax.errors import UserError, lookup
from fairjax.experiment import Config
from fairjax.metrics.overlap import MEASURES
from fairjax.models import zoo
from fairjax.models.architectures import override
from fairjax.models.zoo import segmentation as sam_zoo
from fairjax.segmentation import cases, evaluate, infer, objects, prompts
from fairjax.segmentation.frame import Frame
from fairjax.segmentation.infer import Measured, Scoring, Segmenter
from fairjax.segmentation.objects import Objects, Rule
from fairjax.statistics.rows import Attribute

USAGE, METHOD = "prompted_segmentation", "frozen"
POLICIES = ("strict", "compat")
SELECTION = "predicted"  # the masks that the report speaks of: a user has no oracle
# FairMedFM's input: squashed, channels as OpenCV reads them, SAM's (that is ImageNet's) mean and standard deviation.
COMPAT_INPUT = {"resize": "squash", "interpolation": "bilinear_plain", "bgr": True, "stretch": False}
COMPAT_CUT = 0.5  # torchmetrics cuts at 0.5 what are logits


def run(config: Config, path: Path, cache: Path, *, command: str = "", show_progress: bool = True) -> Path:
    """Runs an experiment, or what of it is not done yet; see `fairjax.pipeline.run`."""
    with workdir.opened(path, config, command) as work:
        check(config)
        words = config["prompting"]
        rule, plan, scoring = settings(config)

        # ---------------------------------------------------------------------------------------------- dataset
        with work.stage("dataset") as said:
            dataset, names = experiment.load_dataset(config)
            dataset = sample(dataset, words["most_images"], config["seed"])
            said.update(name=dataset.name, images=len(dataset), units=dataset.n_patients)

        # ---------------------------------------------------------------------------------------------- objects
        with work.stage("objects") as said:
            found, targets = find(dataset, rule, config, show_progress)
            said.update(
                objects=len(found.table),
                without_mask=found.without_mask,
                empty=found.empty,
                unreadable=len(found.unreadable),
            )

        # ------------------------------------------------------------------------------------------------ masks
        with work.stage("masks") as said:
            segmenter, card = load_segmenter(config)
            measured = infer.segment(
                targets,
                segmenter,
                found,
                rule,
                plan,
                scoring,
                cache / "segmentations",
                **config["embedding"],
                show_progress=show_progress,
            )
            cases_table = evaluate.per_object(measured, plan, scoring.measures)
            results.write_parquet(path / "scores" / "objects.parquet", cases_table)
            said.update(model=card["model"], prompts=len(plan.instances), unreadable=len(measured.quarantined))

        # ---------------------------------------------------------------------------------------------- metrics
        with work.stage("metrics") as said:
            attributes, patients = cohort(targets, measured, names, words["intersections"])
            options = {name: config["evaluation"][name] for name in ("confidence", "min_group")}
            tidy = evaluate.evaluate(
                measured,
                plan,
                scoring.measures,
                attributes,
                patients,
                n_boot=config["n_boot"],
                seed=config["seed"],
                show_progress=show_progress,
                **options,
            )
            facts = {"dataset": dataset.name, "model": card["model"], "usage": USAGE, "method": METHOD}
            tidy = tidy.assign(**facts, policy=config["evaluation"]["policy"])
            results.write_parquet(path / "results.parquet", tidy)
            said.update(rows=len(tidy), replicates=config["n_boot"])

        # ----------------------------------------------------------------------------------------------- report
        with work.stage("report") as said:
            shown = evaluate.run_name(words["shown"], SELECTION)
            values = shown_values(measured, plan, scoring, shown)
            data = report.ReportData(
                title=f"{zoo.MODELS[card['model']].title} prompted on {dataset.name}",
                command=command,
                config=dict(config),
                environment=work.environment,
                dataset=_dataset_facts(targets, measured, found),
                model=_model_facts(card),
                cohort=pd.DataFrame(),
                results=tidy,
                run=shown,
                curves={},
                thresholds={},
                notes=_notes(dataset, found, measured, plan, rule, config),
                sample="object",
                values=_by_group(attributes, values),
                cases=_worst(targets, segmenter, found, rule, plan, scoring, measured, values, attributes, config),
            )
            results.write_csv(path / "summary.csv", summary(tidy))
            if config["evaluation"]["policy"] == "compat":
                results.write_csv(path / "compat.csv", compat_summary(measured, plan, scoring, attributes))
            page = report.write(path / "report", data)
            said.update(page=str(page))
    print(report.console_table(data, metrics=scoring.measures))
    print(f"report: {page}")
    return page


def describe(config: Config, path: Path, cache: Path) -> str:
    """Says what `run` would do, without doing it."""
    check(config)
    rule, plan, scoring = settings(config)
    dataset, names = experiment.load_dataset(config)
    dataset = sample(dataset, config["prompting"]["most_images"], config["seed"])
    found, targets = find(dataset, rule, config, False)
    segmenter, card = load_segmenter(config)
    options = {name: config["embedding"][name] for name in ("batch_size", "shard_batches")}
    store = infer.open_cache(targets, segmenter, found, rule, plan, scoring, cache / "segmentations", **options)
    missing = sum(map(len, store.missing()))
    lines = {
        "dataset": f"{dataset.name}: {len(dataset)} images of {dataset.n_patients} units",
        "objects": f"{len(found.table)} in {len(targets)} images; {found.without_mask} images have no mask, "
        f"{found.empty} masks are empty",
        "attributes": ", ".join(names),
        "model": f"{card['model']} at {segmenter.frame.preprocess.size} pixels",
        "prompts": f"{len(plan.instances)} for each object: {', '.join(plan.kinds)}; random ones {plan.draws} times",
        "masks": f"{missing} images to segment, {len(targets) - missing} in the cache {store.folder}",
        "metrics": f"{config['n_boot']} bootstrap replicates over units",
        "work directory": str(path),
    }
    return "\n".join(f"{name:15s} {text}" for name, text in lines.items())


def check(config: Config) -> None:
    """Refuses settings that could only fail later.

    Raises:
      UserError: names the key and what it may be.
    """
    words, policy = config["prompting"], config["evaluation"]["policy"]
    lookup("evaluation.policy", policy, dict.fromkeys(POLICIES))
    experiment.check({**config, "evaluation": {**config["evaluation"], "policy": "strict"}})
    kinds = prompts.parse(words["prompts"])
    lookup("prompting.shown", words["shown"], dict.fromkeys(kinds))
    for name in words["measures"]:
        lookup("measure", name, MEASURES)
    if words["measures"][0] != "dice":
        raise UserError("prompting.measures must begin with dice, which the report speaks of")
    for key, least in {
        "draws": 1,
        "min_pixels": 1,
        "most_objects": 1,
        "most_images": 0,
        "cases": 0,
        "mask_size": 0,
    }.items():
        if words[key] < least:
            raise UserError(f"prompting.{key} must be at least {least}, not {words[key]}")
    if not 0 <= words["jitter"] < 1 or words["tolerance"] < 0 or words["spacing"] <= 0:
        raise UserError("prompting.jitter must be in [0, 1), prompting.tolerance ≥ 0, and prompting.spacing > 0")
    row = lookup("model", config["model"]["name"], zoo.MODELS)
    if USAGE not in row.usages:
        able = ", ".join(name for name, other in zoo.MODELS.items() if USAGE in other.usages)
        raise UserError(f"{row.name} cannot be prompted; these can: {able}")


def settings(config: Config) -> tuple[Rule, prompts.Plan, Scoring]:
    """What is segmented, how it is prompted, and how masks are compared."""
    words, compat = config["prompting"], config["evaluation"]["policy"] == "compat"
    rule = Rule(words["objects"], words["min_pixels"], words["most_objects"])
    plan = prompts.Plan(prompts.parse(words["prompts"]), words["draws"], words["jitter"], config["seed"])
    own = {"in_frame": True, "skip_first_column": True, "empty": 0.0} if compat else {"size": words["mask_size"]}
    return rule, plan, Scoring(tuple(words["measures"]), words["tolerance"], words["spacing"], **own)


def sample(dataset: Dataset, most: int, seed: int) -> Dataset:
    """The images that have masks and, of too many, those whose names have the smallest hashes."""
    if not most:
        return dataset
    dataset = dataset.take(dataset.has_mask)
    draws = np.array([prompts.generator(seed, "sample", image).random() for image in dataset.table["image"]])
    return dataset.take(np.argsort(np.argsort(draws)) < most)


def find(dataset: Dataset, rule: Rule, config: Config, show_progress: bool) -> tuple[Objects, Dataset]:
    """The objects, and the images that hold any, by whose rows they are numbered."""
    found = objects.scan(dataset, rule, threads=config["embedding"]["threads"], show_progress=show_progress)
    share = config["embedding"]["max_unreadable"]
    if len(found.unreadable) > share * len(dataset):
        first = found.unreadable[0]
        raise UserError(
            f"{len(found.unreadable)} masks of {dataset.name} cannot be read, more than the allowed share {share:g}; "
            f"the first is of {first['image']} ({first['reason']}); mend them or raise "
            "--config.embedding.max_unreadable"
        )
    holds = np.zeros(len(dataset), bool)
    holds[found.table["row"]] = True
    rows = np.cumsum(holds) - 1
    return dataclasses.replace(found, table=found.table.assign(row=rows[found.table["row"]])), dataset.take(holds)


def load_segmenter(config: Config) -> tuple[Segmenter, dict[str, Any]]:
    """The frozen model with its frame, and its card.

    Raises:
      UserError: an unknown model, no checkpoint, one of another model, a damaged one, or a size it cannot take.
    """
    folder, card = experiment.find_model(config)
    module: Any = models.load(folder, dtype=config["model"]["dtype"])
    preprocess = models.load_preprocess(card)
    size = config["model"]["image_size"] or preprocess.size
    if size % module.stride or (size != preprocess.size and card["family"] != "sam") or size < 2 * module.stride:
        raise UserError(f"{card['model']} takes no images of {size} pixels; leave --config.model.image_size at 0")
    preprocess, cut = preprocess.replace(size=size), None
    if config["evaluation"]["policy"] == "compat":
        own = sam_zoo.SAM_PREPROCESS
        preprocess = preprocess.replace(mean=own.mean, std=own.std, scale=own.scale, **COMPAT_INPUT)
        module.config = override(module.config, {"decoder.multimask": True, "decoder.upscale": "input"})
        cut = COMPAT_CUT
    card = {**card, "preprocess": dataclasses.asdict(preprocess)}
    frame = Frame(preprocess, module.config.decoder, cut)
    return Segmenter(module, frame, experiment.model_key(config, card)), card


def cohort(
    targets: Dataset, measured: Measured, names: list[str], intersections: bool
) -> tuple[dict[str, Attribute], np.ndarray]:
    """Attribute → (codes, names) of every object, and whose it is."""
    rows = measured.table["row"].to_numpy()
    table = targets.table[names].iloc[rows].reset_index(drop=True)
    crossed = [tuple(names)] if intersections and len(names) > 1 else False
    return encode(table, intersections=crossed).attributes, targets.patients()[rows]


def shown_values(measured: Measured, plan: prompts.Plan, scoring: Scoring, run: str) -> np.ndarray:
    """The Dice of every object in one run."""
    return next(
        values["dice"] for facts, values in evaluate.runs(measured, plan, scoring.measures) if facts["run"] == run
    )


def summary(tidy: pd.DataFrame) -> pd.DataFrame:
    """For people: per prompt, selection, metric and attribute the overall value, the gap and the worst group."""
    averaged = tidy[tidy["seed"].isna() & tidy["group"].isin(["overall", "gap", "worst"])]
    keys = ["dataset", "model", "prompt", "selection", "metric", "attribute"]
    wide = averaged.pivot_table(
        index=keys, columns="group", values=["value", "ci_low", "ci_high"], sort=False, dropna=True
    )
    wide.columns = [f"{group}" if kind == "value" else f"{group}_{kind[3:]}" for kind, group in wide.columns]
    return wide[sorted(wide.columns, key=lambda name: (name.split("_")[0] != "overall", name))].reset_index()


def compat_summary(
    measured: Measured, plan: prompts.Plan, scoring: Scoring, attributes: dict[str, Attribute]
) -> pd.DataFrame:
    """FairMedFM's summary of Dice: one row per prompt, draw and attribute."""
    frames = []
    for facts, values in evaluate.runs(measured, plan, scoring.measures):
        if facts["selection"] != SELECTION:
            continue
        for attribute, (codes, names) in attributes.items():
            known = codes >= 0
            groups = {attribute: pd.Categorical.from_codes(codes[known], names)}
            audit = audit_segmentation(values["dice"][known], groups, policy="compat", n_boot=0)
            frames.append(audit.summary.reset_index().assign(run=facts["run"]))
    return pd.concat(frames, ignore_index=True)


def _worst(
    targets: Dataset,
    segmenter: Segmenter,
    found: Objects,
    rule: Rule,
    plan: prompts.Plan,
    scoring: Scoring,
    measured: Measured,
    values: np.ndarray,
    attributes: dict[str, Attribute],
    config: Config,
) -> list[dict[str, Any]]:
    """The objects with the lowest Dice, as pictures."""
    words = config["prompting"]
    number = next(i for i, (kind, _) in enumerate(plan.instances) if kind == words["shown"])
    one = measured.values[:, number, 0, 0]
    worst = np.argsort(one, kind="stable")[: words["cases"]]
    place = measured.table.groupby("row").cumcount().to_numpy()
    wanted = [(int(measured.table["row"].iloc[k]), int(place[k]), number) for k in worst]
    load = infer.loader(targets, segmenter, found, rule, plan, scoring)
    drawn = cases.look(targets, segmenter, load, wanted, SELECTION) if len(wanted) else []
    shown = []
    for k, case in zip(worst, drawn, strict=True):
        groups = {name: names[codes[k]] if codes[k] >= 0 else "missing" for name, (codes, names) in attributes.items()}
        shown.append(
            {
                "image": measured.table["image"].iloc[k],
                "target": measured.table["target"].iloc[k],
                "value": float(one[k]),
                "groups": {name: group for name, group in groups.items() if name in config["attributes"]},
                "picture": cases.data_uri(cases.overlay(case)),
            }
        )
    return shown


def _by_group(attributes: dict[str, Attribute], values: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    return {
        attribute: {name: values[codes == code] for code, name in enumerate(names)}
        for attribute, (codes, names) in attributes.items()
    }


def _dataset_facts(targets: Dataset, measured: Measured, found: Objects) -> dict[str, Any]:
    quarantined = [*measured.quarantined, *found.unreadable]
    return {
        "name": targets.name,
        "modality": targets.info.get("modality", ""),
        "citation": targets.info.get("citation", ""),
        "licence": targets.info.get("licence", ""),
        "n_images": len(targets),
        "n_patients": targets.n_patients,
        "n_objects": len(measured.table),
        "objects": ", ".join(targets.mask_classes),
        "quarantined": [{"image": entry["image"], "reason": entry["reason"]} for entry in quarantined],
    }


def _model_facts(card: dict[str, Any]) -> dict[str, Any]:
    row, pixels = zoo.MODELS[card["model"]], card["preprocess"]
    return {
        "name": row.name,
        "title": row.title,
        "input": f"{pixels['size']} × {pixels['size']} pixels, {pixels['resize']}, {pixels['interpolation']}",
        "source": card["source"].get("file"),
        "weights_sha256": card["weights_sha256"],
        "citation": row.citation,
        "licence": row.licence,
    }


def _notes(
    dataset: Dataset, found: Objects, measured: Measured, plan: prompts.Plan, rule: Rule, config: Config
) -> list[str]:
    """What a reader of the report must know besides the numbers."""
    words = config["prompting"]
    shown = prompts.KINDS[words["shown"]].title
    notes = [
        f"The run shown is {words['shown']} ({shown}), and of the candidate masks the one that the model rates "
        "best. "
        "All prompts, and an oracle that knows which candidate is best, are under Prompts and in results.parquet.",
        f"An object is this: {objects.MODES[rule.mode]}. Prompts are made from the true masks.",
    ]
    if any(draw for _, draw in plan.instances):
        notes.append(f"Random prompts are drawn {plan.draws} times; an object's value is the mean over draws.")
    left = {"images have no true mask": found.without_mask, "masks are empty": found.empty}
    notes += [f"{count} {what}, and are left out." for what, count in left.items() if count]
    if unread := len(measured.quarantined) + len(found.unreadable):
        notes.append(f"{unread} images or masks could not be read and are left out.")
    if dataset.n_patients == len(dataset):
        notes.append("Every image is its own unit: intervals assume that images are independent.")
    return notes
