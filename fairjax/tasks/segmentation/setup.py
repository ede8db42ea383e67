"""From the sections of prompted segmentation to what they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fairjax import models
from fairjax.datasets.dataset import Dataset
from fairjax.datasets.groups import encode
from fairjax.models import zoo
from fairjax.models.protocols import MaskFormat
from fairjax.models.zoo import segmentation as sam_zoo
from fairjax.segmentation import evaluate, objects, prompts
from fairjax.segmentation.objects import ObjectRule, Objects
from fairjax.segmentation.segmenter import Measured, Scoring, Segmenter
from fairjax.segmentation.transform import InputTransform
from fairjax.statistics.rows import Attribute
from fairjax.tasks import setup
from fairjax.tasks.config import SegmentationConfig
from fairjax.tasks.sections import EmbeddingConfig, ModelConfig
from fairjax.utils.errors import UserError, lookup

USAGE = "prompted_segmentation"
# FairMedFM's input: squashed, channels as OpenCV reads them, SAM's (that is ImageNet's) mean and
# standard deviation.
COMPAT_INPUT = {
    "resize": "squash",
    "interpolation": "bilinear_plain",
    "bgr": True,
    "stretch": False,
}
# torchmetrics cuts at 0.5 what are logits
COMPAT_MASKS = MaskFormat("logits", 0.5, through_input=True)
COMPAT_SCORING: dict[str, Any] = {"in_input": True, "skip_first_column": True, "empty": 0.0}


def check_model(name: str) -> None:
    """Refuses a model that cannot be prompted."""
    row = lookup("model", name, zoo.MODELS)
    if USAGE not in row.usages:
        able = ", ".join(name for name, other in zoo.MODELS.items() if USAGE in other.usages)
        raise UserError(f"{row.name} cannot be prompted; these can: {able}")


def prompted(config: SegmentationConfig) -> tuple[ObjectRule, prompts.PromptPlan, Scoring]:
    """What is segmented, how it is prompted, and how masks are compared."""
    cfg, compat = config.prompting, config.evaluation.policy == "compat"
    rule = ObjectRule(cfg.objects, cfg.min_pixels, cfg.max_objects)
    plan = prompts.PromptPlan(cfg.kinds, cfg.draws, cfg.jitter, config.seed)
    own = COMPAT_SCORING if compat else {"max_side": cfg.mask_size}
    return rule, plan, Scoring(cfg.metrics, cfg.tolerance, cfg.spacing, **own)


def sample(dataset: Dataset, max_images: int, seed: int) -> Dataset:
    """The images (of volumes, all slices) that have masks and, of too many, those with the smallest
    hashes of names.
    """
    if not max_images:
        return dataset
    dataset = dataset.take(dataset.has_mask)
    names = dataset.table["volume" if "volume" in dataset.table else "image"]
    draws = {name: prompts.generator(seed, "sample", name).random() for name in names.unique()}
    return dataset.take(names.isin(sorted(draws, key=draws.__getitem__)[:max_images]).to_numpy())


def find(
    dataset: Dataset, rule: ObjectRule, cfg: EmbeddingConfig, progress: bool
) -> tuple[Objects, Dataset]:
    """The objects, and the images that hold any, by whose rows they are numbered."""
    found = objects.scan(dataset, rule, threads=cfg.threads, progress=progress)
    if len(found.unreadable) > cfg.max_unreadable * len(dataset):
        first = found.unreadable[0]
        raise UserError(
            f"{len(found.unreadable)} masks of {dataset.name} cannot be read, more than the "
            f"allowed fraction {cfg.max_unreadable:g}; the first is of {first['image']} "
            f"({first['reason']}); mend them or raise --config.embedding.max_unreadable"
        )
    holds = np.zeros(len(dataset), bool)
    holds[found.table["row"]] = True
    return found.take(holds), dataset.take(holds)


def load_segmenter(cfg: ModelConfig, policy: str) -> tuple[Segmenter, dict[str, Any]]:
    """Loads the frozen model with its input, and its card.

    Args:
      cfg: the model.
      policy: `strict`, or `compat` for FairMedFM's input.

    Raises:
      UserError: an unknown model, no checkpoint, one of another model, a damaged one, or a size it
        cannot take.
    """
    directory, card = setup.find_model(cfg)
    module: Any = models.load(directory, dtype=cfg.dtype)
    preprocess = models.load_preprocess(card)
    size = cfg.image_size or preprocess.size
    if not module.accepts(size):
        raise UserError(
            f"{card['model']} takes no images of {size} pixels; "
            "leave --config.model.image_size at 0"
        )
    preprocess = preprocess.replace(size=size)
    masks: MaskFormat | None = None
    if policy == "compat":
        own = sam_zoo.SAM_PREPROCESS
        preprocess = preprocess.replace(mean=own.mean, std=own.std, scale=own.scale, **COMPAT_INPUT)
        module, masks = module.with_all_candidates(), COMPAT_MASKS
    card = {**card, "preprocess": dataclasses.asdict(preprocess)}
    transform = InputTransform.of(module, preprocess, masks)
    return Segmenter(module, transform, setup.model_key(card, cfg.dtype)), card


def cohort(
    targets: Dataset, measured: Measured, names: Sequence[str], intersections: bool
) -> tuple[dict[str, Attribute], np.ndarray]:
    """Attribute → (codes, names) of every object, and whose it is."""
    rows = measured.table["row"].to_numpy()
    table = targets.table[list(names)].iloc[rows].reset_index(drop=True)
    crossed = [tuple(names)] if intersections and len(names) > 1 else False
    return encode(table, intersections=crossed).attributes, targets.patients()[rows]


def of_volumes(targets: Dataset, measured: Measured) -> Measured:
    """What is evaluated: objects, or of slices the classes in their volumes."""
    return (
        evaluate.by_volume(measured, targets.volumes()) if "volume" in targets.table else measured
    )
