"""Mitigation: decoders tuned on train, selected on validation, measured on test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.segmentation import infer, prompts
from fairjax.segmentation.image_embeddings import Source, embed_images, pixels_of
from fairjax.segmentation.objects import Objects, Rule
from fairjax.segmentation.segmenter import Measured, Scoring, Segmenter
from fairjax.segmentation.tuning.examples import Examples, make_examples
from fairjax.segmentation.tuning.losses import METHODS
from fairjax.segmentation.tuning.runs import TuneConfig, TuneRun, choose, expand
from fairjax.segmentation.tuning.sweep import Tuned, tune
from fairjax.tasks import setup
from fairjax.tasks.config import SegmentationConfig
from fairjax.tasks.options import require_distinct
from fairjax.tasks.sections import EmbeddingConfig, strengths_of
from fairjax.tasks.segmentation.setup import subset
from fairjax.utils.errors import UserError, lookup

BASELINES = ("frozen", "erm")  # what every method is compared with, where it was run


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: its images, and the objects in them."""

    dataset: Dataset
    found: Objects


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is tuned and how.

    Attributes:
      runs: every decoder.
      config: how each is tuned.
      attribute: the attribute whose groups the methods use.
      training: what the training objects are prompted with.
      validation: what the validation objects are prompted with.
    """

    runs: list[TuneRun]
    config: TuneConfig
    attribute: str
    training: prompts.Plan
    validation: prompts.Plan


def plan_of(config: SegmentationConfig) -> Plan | None:
    """What a configuration says of mitigation; None where it names no methods.

    Raises:
      UserError: names the key and what it may be.
    """
    cfg, prompting, runs = config.mitigation, config.prompting, list[TuneRun]()
    if not cfg.methods:
        return None
    require_distinct("mitigation.methods", cfg.methods)
    for method in cfg.methods:
        row = lookup("mitigation.methods", method, METHODS)
        strengths = strengths_of(row.strength, cfg.strengths, "mitigation")
        given = [strength for strength in strengths if strength is not None]
        runs += expand([method], given, cfg.learning_rates, cfg.seeds)
    kinds = prompts.parse(cfg.prompts or prompting.prompts)
    return Plan(
        runs,
        cfg.tune,
        config.sensitive_attribute,
        prompts.Plan(kinds, cfg.draws, cfg.jitter, config.seed),
        prompts.Plan((prompting.primary,), 1, prompting.jitter, config.seed),
    )


def split_targets(
    config: SegmentationConfig, targets: Dataset, found: Objects
) -> tuple[dict[str, Split], np.ndarray]:
    """The images that hold objects, by split, and the split of each.

    Raises:
      UserError: a split has none.
    """
    split = setup.split_dataset(config.dataset, config.seed, targets)
    for name in SPLITS:
        if not (split == name).any():
            raise UserError(
                f"no image with objects is in the {name} split: change --config.dataset.fractions"
            )
    return {name: Split(*subset(targets, found, split == name)) for name in SPLITS}, split


def embed(
    targets: Dataset,
    segmenter: Segmenter,
    plan: Plan,
    cache: Path,
    cfg: EmbeddingConfig,
    progress: bool,
) -> Source:
    """What decoders are given of an image: cached embeddings, or pixels where the encoder is tuned
    too.

    Raises:
      UserError: an image cannot be read: it would be missing from one run and not from another.
    """
    if plan.config.lora_rank:
        return pixels_of(targets, segmenter.frame)
    source, valid = embed_images(
        targets,
        segmenter,
        cache / "image_embeddings",
        **dataclasses.asdict(cfg),
        progress=progress,
    )
    if not valid.all():
        first = targets.table["image"][~valid].iloc[0]
        raise UserError(
            f"{(~valid).sum()} images cannot be read, the first is {first}: take them out of the "
            "dataset"
        )
    return source


def train(
    segmenter: Segmenter,
    source: Source,
    splits: Mapping[str, Split],
    rule: Rule,
    plan: Plan,
    directory: Path,
    config: SegmentationConfig,
    progress: bool,
) -> Tuned:
    """Tunes every decoder of the plan on the training split, and measures it on validation."""

    def examples(name: str, drawn: prompts.Plan) -> Examples:
        dataset = splits[name].dataset
        codes, threads = dataset.groups(plan.attribute)[0], config.embedding.threads
        return make_examples(
            dataset, segmenter, rule, drawn, codes, threads=threads, show_progress=progress
        )

    return tune(
        segmenter,
        source,
        examples("train", plan.training),
        examples("validation", plan.validation),
        splits["train"].dataset.groups(plan.attribute)[1],
        plan.runs,
        plan.config,
        directory,
        seed=config.seed,
        memory_bytes=config.memory_bytes,
        show_progress=progress,
    )


def measure(
    segmenter: Segmenter,
    source: Source,
    tuned: Tuned,
    test: Split,
    rule: Rule,
    drawn: prompts.Plan,
    scoring: Scoring,
    cache: Path,
    cfg: EmbeddingConfig,
    progress: bool,
) -> dict[str, dict[int, Measured]]:
    """Method → seed → what its selected decoders make of the test split."""
    by_name = {run.name: run for run in tuned.runs}
    measured: dict[str, dict[int, Measured]] = {}
    for method, names in choose(tuned.table()).items():
        for run in (by_name[name] for name in names):
            measured.setdefault(method, {})[run.seed] = infer.segment(
                test.dataset,
                tuned.segmenter(segmenter, run),
                test.found,
                rule,
                drawn,
                scoring,
                cache / "segmentations",
                source=source,
                **dataclasses.asdict(cfg),
                show_progress=progress,
            )
    return measured


def notes(
    plan: Plan, runs: pd.DataFrame, differences: pd.DataFrame, prompt: str, selection: str
) -> list[str]:
    """What a reader of the report must know of the tuned decoders."""
    n_seeds = len(next(iter(choose(runs).values())))
    lines = [
        f"Decoders were tuned on the training split with {plan.attribute} as the attribute; "
        "learning rate, strength and epoch were selected on the validation split "
        f"({plan.config.choose} Dice); every number here is of the test split. A method's value of "
        f"an object is the mean over {n_seeds} seeds."
    ]
    overall = differences.query(
        "prompt == @prompt and selection == @selection and metric == 'dice' and attribute == 'all'"
    )
    for row in overall.itertuples():
        title = METHODS[row.a].title if row.a in METHODS else row.a
        low, high = f"{row.ci_low:+.3f}", f"{row.ci_high:+.3f}"
        lines.append(
            f"Dice of {row.a} ({title}) minus {row.b}, {prompt}: {row.value:+.3f} [{low}, {high}]."
        )
    return lines


def describe(plan: Plan, splits: Mapping[str, Split]) -> dict[str, str]:
    """What would be tuned, in words."""
    counts = ", ".join(f"{name} {len(split.dataset)} images" for name, split in splits.items())
    methods = ", ".join(dict.fromkeys(run.method for run in plan.runs))
    encoder = f"with LoRA of rank {plan.config.lora_rank}" if plan.config.lora_rank else "frozen"
    return {
        "split": counts,
        "mitigation": f"{len(plan.runs)} decoders by {methods}, {plan.config.epochs} epochs each; "
        f"image encoder {encoder}",
    }
