"""Mitigation for prompted segmentation: decoders tuned on the training side, chosen on validation,
measured on test.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

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
from fairjax.tasks.segmentation.setup import subset
from fairjax.tasks.setup import Config
from fairjax.utils.errors import UserError, lookup

BASELINES = ("frozen", "erm")  # what every method is compared with, where it was run
OF_CONFIG = {field.name for field in dataclasses.fields(TuneConfig)}


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of the split: its images, and the objects in them."""

    dataset: Dataset
    found: Objects


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is tuned and how.

    Attributes:
      runs: every decoder.
      config: how each is tuned.
      attribute: whose groups the methods are told of.
      prompts: what the training objects are prompted with.
    """

    runs: list[TuneRun]
    config: TuneConfig
    attribute: str
    prompts: prompts.Plan


def settings(config: Config) -> Plan | None:
    """What a configuration says of mitigation; None where it names no methods.

    Raises:
      UserError: names the key and what it may be.
    """
    words, prompting = config["mitigation"], config["prompting"]
    if not words["methods"]:
        return None
    methods = [name.strip() for part in words["methods"] for name in part.split(",")]
    runs = expand(methods, words["strengths"], words["learning_rates"], words["seeds"])
    attributes = [name.strip() for part in config["attributes"] for name in part.split(",")]
    attribute = words["attribute"] or attributes[0]
    lookup("mitigation.attribute", attribute, dict.fromkeys(attributes))
    if words["draws"] < 1 or not 0 <= words["jitter"] < 1:
        raise UserError("mitigation.draws must be at least 1, and mitigation.jitter in [0, 1)")
    kinds = prompts.parse(words["prompts"] or prompting["prompts"])
    drawn = prompts.Plan(kinds, words["draws"], words["jitter"], config["seed"])
    return Plan(runs, TuneConfig(**{key: words[key] for key in OF_CONFIG}), attribute, drawn)


def sides(config: Config, targets: Dataset, found: Objects) -> tuple[dict[str, Side], np.ndarray]:
    """The images that hold objects, by side of the split, and the side of each.

    Raises:
      UserError: a side has none.
    """
    side = setup.split_dataset(config, targets)
    for name in SPLITS:
        if not (side == name).any():
            raise UserError(
                f"no image with objects is on the {name} side of the split: change dataset.fractions"
            )
    return {name: Side(*subset(targets, found, side == name)) for name in SPLITS}, side


def embed(
    targets: Dataset, segmenter: Segmenter, plan: Plan, cache: Path, config: Config, show: bool
) -> Source:
    """What decoders are given of an image: cached embeddings, or pixels where the encoder is tuned
    too.

    Raises:
      UserError: an image cannot be read: it would be missing from one run and not from another.
    """
    if plan.config.lora_rank:
        return pixels_of(targets, segmenter.frame)
    source, valid = embed_images(
        targets, segmenter, cache / "image_embeddings", **config["embedding"], progress=show
    )
    if not valid.all():
        first = targets.table["image"][~valid].iloc[0]
        raise UserError(
            f"{(~valid).sum()} images cannot be read, the first is {first}: take them out of the dataset"
        )
    return source


def train(
    segmenter: Segmenter,
    source: Source,
    of_side: dict[str, Side],
    rule: Rule,
    plan: Plan,
    folder: Path,
    config: Config,
    show: bool,
) -> Tuned:
    """Tunes every decoder of the plan on the training side, and measures it on the validation side."""
    words = config["prompting"]
    shown = prompts.Plan((words["shown"],), 1, words["jitter"], config["seed"])

    def examples(name: str, drawn: prompts.Plan) -> Examples:
        dataset = of_side[name].dataset
        codes = dataset.groups(plan.attribute)[0]
        threads = config["embedding"]["threads"]
        return make_examples(
            dataset, segmenter, rule, drawn, codes, threads=threads, show_progress=show
        )

    return tune(
        segmenter,
        source,
        examples("train", plan.prompts),
        examples("validation", shown),
        of_side["train"].dataset.groups(plan.attribute)[1],
        plan.runs,
        plan.config,
        folder,
        seed=config["seed"],
        memory_bytes=config["memory_gib"] * 2**30,
        show_progress=show,
    )


def measure(
    segmenter: Segmenter,
    source: Source,
    tuned: Tuned,
    test: Side,
    rule: Rule,
    drawn: prompts.Plan,
    scoring: Scoring,
    cache: Path,
    config: Config,
    show: bool,
) -> dict[str, dict[int, Measured]]:
    """Method → seed → what its chosen decoders make of the test side."""
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
                **config["embedding"],
                show_progress=show,
            )
    return measured


def notes(
    plan: Plan, runs: pd.DataFrame, differences: pd.DataFrame, shown: str, selection: str
) -> list[str]:
    """What a reader of the report must know of the tuned decoders."""
    chosen = choose(runs)
    said = [
        f"Decoders were tuned on the training side with {plan.attribute} as the attribute; learning rate, strength and "
        f"epoch were chosen on the validation side ({plan.config.choose} Dice); every number here is of the test side. "
        f"A method's value of an object is the mean over {len(next(iter(chosen.values())))} seeds."
    ]
    overall = differences.query(
        f"prompt == {shown!r} and selection == {selection!r} and metric == 'dice' and attribute == 'all'"
    )
    for row in overall.itertuples():
        title = METHODS[row.a].title if row.a in METHODS else row.a
        low, high = f"{row.ci_low:+.3f}", f"{row.ci_high:+.3f}"
        said.append(
            f"Dice of {row.a} ({title}) minus {row.b}, {shown}: {row.value:+.3f} [{low}, {high}]."
        )
    return said


def describe(plan: Plan, of_side: dict[str, Side]) -> dict[str, Any]:
    """What would be tuned, in words."""
    counts = ", ".join(f"{name} {len(side.dataset)} images" for name, side in of_side.items())
    methods = dict.fromkeys(run.method for run in plan.runs)
    encoder = f"with LoRA of rank {plan.config.lora_rank}" if plan.config.lora_rank else "frozen"
    return {
        "split": counts,
        "mitigation": f"{len(plan.runs)} decoders by {', '.join(methods)}, {plan.config.epochs} epochs each; "
        f"image encoder {encoder}",
    }
