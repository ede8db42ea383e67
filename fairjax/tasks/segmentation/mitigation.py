"""Mitigation: decoders tuned on train, selected on validation, measured on test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fairjax.datasets.dataset import SPLITS
from fairjax.segmentation import infer, prompts
from fairjax.segmentation.image_embeddings import EmbeddingSource, embed_images, pixels_of
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.segmentation.tuning import losses
from fairjax.segmentation.tuning.examples import Examples, make_examples
from fairjax.segmentation.tuning.runs import TuneConfig, select
from fairjax.segmentation.tuning.sweep import Tuned, tune
from fairjax.tasks import setup
from fairjax.tasks.config import SegmentationConfig
from fairjax.tasks.options import require_distinct
from fairjax.tasks.sections import EmbeddingConfig, strengths_of
from fairjax.training.runs import Run, expand
from fairjax.utils.errors import UserError, lookup

BASELINES = ("frozen", "erm")  # what every method is compared with, where it was run


@dataclasses.dataclass(frozen=True)
class Mitigation:
    """What is tuned and how.

    Attributes:
      runs: every decoder.
      config: how each is tuned.
      attribute: the attribute whose groups the methods use.
      training: what the training objects are prompted with.
      validation: what the validation objects are prompted with.
    """

    runs: list[Run]
    config: TuneConfig
    attribute: str
    training: prompts.PromptPlan
    validation: prompts.PromptPlan


def plan_of(config: SegmentationConfig) -> Mitigation | None:
    """What a configuration says of mitigation; None where it names no methods.

    Raises:
      UserError: names the key and what it may be.
    """
    cfg, prompting, runs = config.mitigation, config.prompting, list[Run]()
    if not cfg.methods:
        return None
    require_distinct("mitigation.methods", cfg.methods)
    for method in cfg.methods:
        row = lookup("mitigation.methods", method, losses.methods())
        strengths = strengths_of(row.strength, cfg.strengths, "mitigation")
        runs += expand(cfg.seeds, cfg.learning_rates, (cfg.weight_decay,), strengths, method)
    kinds = prompts.parse(cfg.prompts or prompting.prompts)
    return Mitigation(
        runs,
        cfg.tune,
        config.sensitive_attribute,
        prompts.PromptPlan(kinds, cfg.draws, cfg.jitter, config.seed),
        prompts.PromptPlan((prompting.primary,), 1, prompting.jitter, config.seed),
    )


def split_task(
    config: SegmentationConfig, task: PromptedTask
) -> tuple[dict[str, PromptedTask], np.ndarray]:
    """The task on the images of each split, and the split of each image.

    Raises:
      UserError: a split has no image.
    """
    split = setup.split_dataset(config.dataset, config.seed, task.dataset)
    for name in SPLITS:
        if not (split == name).any():
            raise UserError(
                f"no image with objects is in the {name} split: change --config.dataset.fractions"
            )
    return {name: task.take(split == name) for name in SPLITS}, split


def embed(
    task: PromptedTask, plan: Mitigation, cache: Path, cfg: EmbeddingConfig, progress: bool
) -> EmbeddingSource:
    """What decoders are given of an image: cached embeddings, or pixels if the encoder is tuned.

    Raises:
      UserError: an image cannot be read: it would be missing from one run and not from another.
    """
    dataset, segmenter, directory = task.dataset, task.segmenter, cache / "image_embeddings"
    if plan.config.lora_rank:
        return pixels_of(dataset, segmenter.transform)
    options = dataclasses.asdict(cfg)
    source, valid = embed_images(dataset, segmenter, directory, **options, progress=progress)
    if not valid.all():
        first = dataset.table["image"][~valid].iloc[0]
        raise UserError(
            f"{(~valid).sum()} images cannot be read, the first is {first}: take them out of the "
            "dataset"
        )
    return source


def train(
    splits: Mapping[str, PromptedTask],
    source: EmbeddingSource,
    plan: Mitigation,
    directory: Path,
    config: SegmentationConfig,
    progress: bool,
) -> Tuned:
    """Tunes every decoder of the plan on the training split, and measures it on validation."""

    def examples(name: str, drawn: prompts.PromptPlan) -> Examples:
        task = dataclasses.replace(splits[name], plan=drawn)
        codes, threads = task.dataset.groups(plan.attribute)[0], config.embedding.threads
        return make_examples(task, codes, threads=threads, progress=progress)

    return tune(
        splits["train"].segmenter,
        source,
        examples("train", plan.training),
        examples("validation", plan.validation),
        splits["train"].dataset.groups(plan.attribute)[1],
        plan.runs,
        plan.config,
        directory,
        seed=config.seed,
        memory_bytes=config.memory_bytes,
        progress=progress,
    )


def measure(
    test: PromptedTask, tuned: Tuned, cache: Path, cfg: EmbeddingConfig, progress: bool
) -> dict[str, dict[int, Measured]]:
    """Method → seed → what its selected decoders make of the test split."""
    by_name = {run.name: run for run in tuned.runs}
    measured: dict[str, dict[int, Measured]] = {}
    for method, names in select(tuned.table()).items():
        for run in (by_name[name] for name in names):
            task = dataclasses.replace(test, segmenter=tuned.segmenter(run))
            measured.setdefault(method, {})[run.seed] = infer.segment(
                task, cache / "segmentations", **dataclasses.asdict(cfg), progress=progress
            )
    return measured


def notes(
    plan: Mitigation, runs: pd.DataFrame, differences: pd.DataFrame, prompt: str, selection: str
) -> list[str]:
    """What a reader of the report must know of the tuned decoders."""
    table = losses.methods()
    n_seeds = len(next(iter(select(runs).values())))
    lines = [
        f"Decoders were tuned on the training split with {plan.attribute} as the attribute; "
        "learning rate, strength and epoch were selected on the validation split "
        f"({plan.config.select} Dice); every number here is of the test split. A method's value of "
        f"an object is the mean over {n_seeds} seeds."
    ]
    overall = differences.query(
        "prompt == @prompt and selection == @selection and metric == 'dice' and attribute == 'all'"
    )
    for row in overall.itertuples():
        title = table[row.a].title if row.a in table else row.a
        low, high = f"{row.ci_low:+.3f}", f"{row.ci_high:+.3f}"
        lines.append(
            f"Dice of {row.a} ({title}) minus {row.b}, {prompt}: {row.value:+.3f} [{low}, {high}]."
        )
    return lines


def describe(plan: Mitigation, splits: Mapping[str, PromptedTask]) -> dict[str, str]:
    """What would be tuned, in words."""
    counts = ", ".join(f"{name} {len(split.dataset)} images" for name, split in splits.items())
    methods = ", ".join(dict.fromkeys(run.method for run in plan.runs))
    encoder = f"with LoRA of rank {plan.config.lora_rank}" if plan.config.lora_rank else "frozen"
    return {
        "split": counts,
        "mitigation": f"{len(plan.runs)} decoders by {methods}, {plan.config.epochs} epochs each; "
        f"image encoder {encoder}",
    }
