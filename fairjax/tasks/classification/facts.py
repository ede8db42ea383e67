"""What the report of a classification says besides the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import Embeddings
from fairjax.tasks.classification.condition import Condition
from fairjax.tasks.classification.subject import Subject
from fairjax.training.postprocessing.sweep import Postprocessed
from fairjax.training.store import Sweep

SELECTED_BY = {
    "overall": "the highest mean AUC",
    "minimax": "the highest mean AUC of the worst group",
    "dto": "the least distance of the groups' mean AUCs from the best of each",
}


def title(conditions: Mapping[Condition, Any], model: str, dataset: str) -> str:
    """`Linear probes of mobile_sam on isic2017`."""
    usages = {condition.usage.title for condition in conditions}
    what = f"{next(iter(usages)).capitalize()}s" if len(usages) == 1 else "Usages"
    return f"{what} of {model} on {dataset}"


def dataset_facts(dataset: Dataset, embedded: Embeddings) -> dict[str, Any]:
    """What the report says of the data."""
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


def curves(
    sweep: Sweep, run: str, test: Dataset, attributes: Sequence[str]
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Scores and labels of one run on the test split, by attribute and group."""
    scores, labels = sweep.test_scores(run), test.labels
    found = {"all": {"overall": (scores, labels)}}
    for attribute in attributes:
        codes, names = test.groups(attribute)
        found[attribute] = {
            name: (scores[codes == code], labels[codes == code]) for code, name in enumerate(names)
        }
    return found


def notes(subject: Subject, run: str, sweeps: Mapping[Condition, Sweep]) -> list[str]:
    """What a reader of the report must know besides the numbers."""
    config, dataset = subject.config, subject.dataset
    lines = [
        f"The run shown is {run}: of the first condition, the hyper-parameters with "
        f"{SELECTED_BY[config.training.select]} on validation over seeds, and of these seeds the "
        "one with the median validation AUC. All runs are in results.parquet."
    ]
    if dataset.n_patients == len(dataset):
        lines.append(
            "Every image is its own patient: splits and intervals assume that images are "
            "independent."
        )
    if "volume" in dataset.table:
        lines.append(
            "Slices were embedded and scored; the score of a volume is the "
            f"{config.dataset.aggregate_slices} of its slices' scores."
        )
    if unreadable := len(subject.embedded.quarantined):
        lines.append(f"{unreadable} images could not be read and are left out.")
    lines += [
        f"{condition.name}: {note}"
        for condition, sweep in sweeps.items()
        if isinstance(sweep, Postprocessed)
        for note in sweep.notes()
    ]
    lines += dataset.info.get("notes", ())
    if any(condition.decides for condition in sweeps):
        lines.append(
            "Thresholds of groups give decisions, no scores: they have accuracy and rates, and no "
            "AUC, log loss or ECE."
        )
    return lines
