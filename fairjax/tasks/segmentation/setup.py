"""From the words of a configuration of prompted segmentation to the things they name."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool

from fairjax import models
from fairjax.datasets.groups import encode
from fairjax.datasets.dataset import Dataset
from fairjax.metrics.overlap import MEASURES
from fairjax.models import zoo
from fairjax.models.architectures import override
from fairjax.models.zoo import segmentation as sam_zoo
from fairjax.segmentation import evaluate, objects, prompts
from fairjax.segmentation.frame import Frame
from fairjax.segmentation.objects import Objects, Rule
from fairjax.segmentation.segmenter import Measured, Scoring, Segmenter
from fairjax.statistics.rows import Attribute
from fairjax.tasks import setup
from fairjax.tasks.setup import Config
from fairjax.utils.errors import UserError, lookup

USAGE = "prompted_segmentation"
POLICIES = ("strict", "compat")
# FairMedFM's input: squashed, channels as OpenCV reads them, SAM's (that is ImageNet's) mean and
# standard deviation.
COMPAT_INPUT = {
    "resize": "squash",
    "interpolation": "bilinear_plain",
    "bgr": True,
    "stretch": False,
}
COMPAT_CUT = 0.5  # torchmetrics cuts at 0.5 what are logits


def check(config: Config) -> None:
    """Refuses settings that could only fail later.

    Raises:
      UserError: names the key and what it may be.
    """
    words, policy = config["prompting"], config["evaluation"]["policy"]
    lookup("evaluation.policy", policy, dict.fromkeys(POLICIES))
    setup.check({**config, "evaluation": {**config["evaluation"], "policy": "strict"}})
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
        raise UserError(
            "prompting.jitter must be in [0, 1), prompting.tolerance ≥ 0, and prompting.spacing > 0"
        )
    row = lookup("model", config["model"]["name"], zoo.MODELS)
    if USAGE not in row.usages:
        able = ", ".join(name for name, other in zoo.MODELS.items() if USAGE in other.usages)
        raise UserError(f"{row.name} cannot be prompted; these can: {able}")


def settings(config: Config) -> tuple[Rule, prompts.Plan, Scoring]:
    """What is segmented, how it is prompted, and how masks are compared."""
    words, compat = config["prompting"], config["evaluation"]["policy"] == "compat"
    rule = Rule(words["objects"], words["min_pixels"], words["most_objects"])
    plan = prompts.Plan(
        prompts.parse(words["prompts"]), words["draws"], words["jitter"], config["seed"]
    )
    own = (
        {"in_frame": True, "skip_first_column": True, "empty": 0.0}
        if compat
        else {"size": words["mask_size"]}
    )
    return (
        rule,
        plan,
        Scoring(tuple(words["measures"]), words["tolerance"], words["spacing"], **own),
    )


def sample(dataset: Dataset, most: int, seed: int) -> Dataset:
    """The images (of volumes, all slices) that have masks and, of too many, those with the smallest
    hashes of names.
    """
    if not most:
        return dataset
    dataset = dataset.take(dataset.has_mask)
    names = dataset.table["volume" if "volume" in dataset.table else "image"]
    draws = {name: prompts.generator(seed, "sample", name).random() for name in names.unique()}
    return dataset.take(names.isin(sorted(draws, key=draws.__getitem__)[:most]).to_numpy())


def find(
    dataset: Dataset, rule: Rule, config: Config, show_progress: bool
) -> tuple[Objects, Dataset]:
    """The objects, and the images that hold any, by whose rows they are numbered."""
    found = objects.scan(
        dataset, rule, threads=config["embedding"]["threads"], show_progress=show_progress
    )
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
    targets, found = subset(dataset, found, holds)
    return found, targets


def subset(
    dataset: Dataset, found: Objects, keep: Bool[np.ndarray, " n"]
) -> tuple[Dataset, Objects]:
    """The images that are kept, and the objects in them, numbered by their rows."""
    table = found.table[keep[found.table["row"]]].reset_index(drop=True)
    rows = np.cumsum(keep) - 1
    return dataset.take(keep), dataclasses.replace(
        found, table=table.assign(row=rows[table["row"]])
    )


def load_segmenter(config: Config) -> tuple[Segmenter, dict[str, Any]]:
    """The frozen model with its frame, and its card.

    Raises:
      UserError: an unknown model, no checkpoint, one of another model, a damaged one, or a size it
        cannot take.
    """
    folder, card = setup.find_model(config)
    module: Any = models.load(folder, dtype=config["model"]["dtype"])
    preprocess = models.load_preprocess(card)
    size = config["model"]["image_size"] or preprocess.size
    if (
        size % module.stride
        or (size != preprocess.size and card["family"] != "sam")
        or size < 2 * module.stride
    ):
        raise UserError(
            f"{card['model']} takes no images of {size} pixels; leave --config.model.image_size at 0"
        )
    preprocess, cut = preprocess.replace(size=size), None
    if config["evaluation"]["policy"] == "compat":
        own = sam_zoo.SAM_PREPROCESS
        preprocess = preprocess.replace(mean=own.mean, std=own.std, scale=own.scale, **COMPAT_INPUT)
        module.config = override(
            module.config, {"decoder.multimask": True, "decoder.upscale": "input"}
        )
        cut = COMPAT_CUT
    card = {**card, "preprocess": dataclasses.asdict(preprocess)}
    frame = Frame(preprocess, module.config.decoder, cut)
    return Segmenter(module, frame, setup.model_key(config, card)), card


def cohort(
    targets: Dataset, measured: Measured, names: list[str], intersections: bool
) -> tuple[dict[str, Attribute], np.ndarray]:
    """Attribute → (codes, names) of every object, and whose it is."""
    rows = measured.table["row"].to_numpy()
    table = targets.table[names].iloc[rows].reset_index(drop=True)
    crossed = [tuple(names)] if intersections and len(names) > 1 else False
    return encode(table, intersections=crossed).attributes, targets.patients()[rows]


def of_units(targets: Dataset, measured: Measured) -> Measured:
    """What is evaluated: objects, or of slices the classes in their volumes; see
    `evaluate.by_volume`.
    """
    return (
        evaluate.by_volume(measured, targets.volumes()) if "volume" in targets.table else measured
    )
