"""What was measured of prompted segmentation, as tables, images and texts for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing import audit_segmentation
from fairjax.datasets.dataset import Dataset
from fairjax.segmentation import cases, evaluate, objects, prompts
from fairjax.segmentation.objects import Objects
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.statistics.rows import Attribute
from fairjax.tasks.segmentation.sections import PromptingConfig

SELECTION = "predicted"  # the masks of the report: a user has no oracle


def shown_values(task: PromptedTask, measured: Measured, run: str) -> np.ndarray:
    """The Dice of every object in one run."""
    return next(
        values["dice"]
        for facts, values in evaluate.runs(measured, task.plan, task.scoring.metrics)
        if facts["run"] == run
    )


def summary(tidy: pd.DataFrame) -> pd.DataFrame:
    """For people: per method, prompt, selection, metric and attribute the overall value, the gap,
    the worst group.
    """
    averaged = tidy[tidy["seed"].isna() & tidy["group"].isin(["overall", "gap", "worst"])]
    keys = ["dataset", "model", "method", "prompt", "selection", "metric", "attribute"]
    wide = averaged.pivot_table(
        index=keys, columns="group", values=["value", "ci_low", "ci_high"], sort=False, dropna=True
    )
    wide.columns = [
        f"{group}" if kind == "value" else f"{group}_{kind[3:]}" for kind, group in wide.columns
    ]
    return wide[
        sorted(wide.columns, key=lambda name: (name.split("_")[0] != "overall", name))
    ].reset_index()


def compat_summary(
    task: PromptedTask, measured: Measured, attributes: dict[str, Attribute]
) -> pd.DataFrame:
    """FairMedFM's summary of Dice: one row per prompt, draw and attribute."""
    frames = []
    for facts, values in evaluate.runs(measured, task.plan, task.scoring.metrics):
        if facts["selection"] != SELECTION:
            continue
        for attribute, (codes, names) in attributes.items():
            known = codes >= 0
            groups = {attribute: pd.Categorical.from_codes(codes[known], names)}
            audit = audit_segmentation(values["dice"][known], groups, policy="compat", n_boot=0)
            frames.append(audit.summary.reset_index().assign(run=facts["run"]))
    return pd.concat(frames, ignore_index=True)


def worst_cases(
    task: PromptedTask,
    measured: Measured,
    attributes: dict[str, Attribute],
    cfg: PromptingConfig,
) -> list[dict[str, Any]]:
    """The objects (of volumes, in their slices) with the lowest Dice, as images."""
    prompt = next(i for i, (kind, _) in enumerate(task.plan.instances) if kind == cfg.primary)
    dice = measured.values[:, prompt, 0, 0]
    worst = np.argsort(dice, kind="stable")[: cfg.cases]
    index = measured.table.groupby("row").cumcount().to_numpy()
    wanted = [(int(measured.table["row"].iloc[k]), int(index[k]), prompt) for k in worst]
    drawn = cases.render(task, wanted, SELECTION) if len(wanted) else []
    return [
        {
            "image": measured.table["image"].iloc[k],
            "target": measured.table["target"].iloc[k],
            "value": float(dice[k]),
            "groups": {
                name: names[codes[k]] if codes[k] >= 0 else "missing"
                for name, (codes, names) in attributes.items()
            },
            "data_uri": cases.data_uri(cases.overlay(case)),
        }
        for k, case in zip(worst, drawn, strict=True)
    ]


def by_group(
    attributes: dict[str, Attribute], values: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Attribute → group → values of its objects."""
    return {
        attribute: {name: values[codes == code] for code, name in enumerate(names)}
        for attribute, (codes, names) in attributes.items()
    }


def dataset_facts(task: PromptedTask, measured: Measured) -> dict[str, Any]:
    """What the report says of the data."""
    targets = task.dataset
    quarantined = [*measured.quarantined, *task.objects.unreadable]
    return {
        "name": targets.name,
        "modality": targets.info.get("modality", ""),
        "citation": targets.info.get("citation", ""),
        "licence": targets.info.get("licence", ""),
        "n_images": len(targets),
        "n_patients": targets.n_patients,
        "n_objects": len(measured.table),
        "objects": ", ".join(targets.mask_classes),
        "quarantined": [
            {"image": entry["image"], "reason": entry["reason"]} for entry in quarantined
        ],
    }


def notes(
    dataset: Dataset, task: PromptedTask, measured: Measured, cfg: PromptingConfig
) -> list[str]:
    """What a reader of the report must know besides the numbers."""
    found, plan = task.objects, task.plan
    lines = [
        f"The run shown is {cfg.primary} ({prompts.KINDS[cfg.primary].title}), and of the "
        "candidate masks the one that the model rates best. All prompts, and an oracle that knows "
        "which candidate is best, are under Prompts and in results.parquet.",
        f"An object is this: {objects.MODES[cfg.objects]}. Prompts are made from the true masks.",
    ]
    if any(draw for _, draw in plan.instances):
        lines.append(
            f"Random prompts are drawn {plan.draws} times; an object's value is the mean over "
            "draws."
        )
    left = {"images have no true mask": found.without_mask, "masks are empty": found.empty}
    lines += [f"{count} {what}, and are left out." for what, count in left.items() if count]
    if unread := len(measured.quarantined) + len(found.unreadable):
        lines.append(f"{unread} images or masks could not be read and are left out.")
    lines += _of_volumes(dataset, measured) + _of_spacing(found, cfg)
    lines += dataset.info.get("notes", ())
    if dataset.n_patients == len(dataset):
        lines.append(
            "Every image is its own patient: intervals assume that images are independent."
        )
    return lines


def _of_volumes(dataset: Dataset, measured: Measured) -> list[str]:
    if "volume" not in dataset.table:
        return []
    return [
        "Slices were segmented one by one, those that hold an object "
        f"({measured.table['image'].nunique()}); the value of a class in a volume is the mean over "
        "them, and volumes of one patient are resampled together."
    ]


def _of_spacing(found: Objects, cfg: PromptingConfig) -> list[str]:
    """In what unit distances are measured, where any are."""
    if not {"nsd", "hd95"} & set(cfg.metrics):
        return []
    images = found.table.drop_duplicates("image")
    known = int(images["mm_y"].notna().sum())
    rest = "pixels" if cfg.spacing == 1 else f"mm, at prompting.spacing={cfg.spacing:g}"
    parts = [f"in mm, with the spacing of their files, in {known} images"] if known else []
    parts += [f"in {rest} in {len(images) - known}"] if known < len(images) else []
    return [f"Distances are measured {' and '.join(parts)}."]
