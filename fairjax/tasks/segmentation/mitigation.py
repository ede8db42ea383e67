"""Mitigation for prompted segmentation: decoders tuned on the training side, chosen on validation,
measured on test.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairjax.datasets.dataset import SPLITS
from fairjax.segmentation import infer, prompts
from fairjax.segmentation.image_embeddings import EmbeddingSource, embed_images, pixels_of
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.segmentation.tuning import losses
from fairjax.segmentation.tuning.examples import Examples, make_examples
from fairjax.segmentation.tuning.runs import TuneConfig, expand, select
from fairjax.segmentation.tuning.sweep import Tuned, tune
from fairjax.tasks import setup
from fairjax.tasks.setup import Config
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError, lookup

BASELINES = ("frozen", "erm")  # what every method is compared with, where it was run
OF_CONFIG = {field.name for field in dataclasses.fields(TuneConfig)}


@dataclasses.dataclass(frozen=True)
class Mitigation:
    """What is tuned and how.

    Attributes:
      runs: every decoder.
      config: how each is tuned.
      attribute: whose groups the methods are told of.
      prompts: what the training objects are prompted with.
    """

    runs: list[Run]
    config: TuneConfig
    attribute: str
    prompts: prompts.PromptPlan


def settings(config: Config) -> Mitigation | None:
    """What a configuration says of mitigation; None where it names no methods.

    Raises:
      UserError: names the key and what it may be.
    """
    words, prompting = config["mitigation"], config["prompting"]
    if not words["methods"]:
        return None
    methods = [name.strip() for part in words["methods"] for name in part.split(",")]
    tuning = TuneConfig(**{key: words[key] for key in OF_CONFIG})
    grid = words["strengths"], words["learning_rates"], words["seeds"], tuning.weight_decay
    runs = expand(methods, *grid)
    attributes = [name.strip() for part in config["attributes"] for name in part.split(",")]
    attribute = words["attribute"] or attributes[0]
    lookup("mitigation.attribute", attribute, dict.fromkeys(attributes))
    if words["draws"] < 1 or not 0 <= words["jitter"] < 1:
        raise UserError("mitigation.draws must be at least 1, and mitigation.jitter in [0, 1)")
    kinds = prompts.parse(words["prompts"] or prompting["prompts"])
    drawn = prompts.PromptPlan(kinds, words["draws"], words["jitter"], config["seed"])
    return Mitigation(runs, tuning, attribute, drawn)


def splits(config: Config, task: PromptedTask) -> tuple[dict[str, PromptedTask], np.ndarray]:
    """The task on the images of each split, and the split of each image.

    Raises:
      UserError: a split has no image.
    """
    split = setup.split_dataset(config, task.dataset)
    for name in SPLITS:
        if not (split == name).any():
            raise UserError(
                f"no image with objects is on the {name} side of the split: change dataset.fractions"
            )
    return {name: task.take(split == name) for name in SPLITS}, split


def embed(
    task: PromptedTask, mitigation: Mitigation, cache: Path, config: Config, progress: bool
) -> EmbeddingSource:
    """What decoders are given of an image: cached embeddings, or pixels if the encoder is tuned
    too.

    Raises:
      UserError: an image cannot be read: it would be missing from one run and not from another.
    """
    dataset, segmenter = task.dataset, task.segmenter
    if mitigation.config.lora_rank:
        return pixels_of(dataset, segmenter.transform)
    source, valid = embed_images(
        dataset,
        segmenter,
        cache / "image_embeddings",
        **config["embedding"],
        show_progress=progress,
    )
    if not valid.all():
        first = dataset.table["image"][~valid].iloc[0]
        raise UserError(
            f"{(~valid).sum()} images cannot be read, the first is {first}: take them out of the "
            "dataset"
        )
    return source


def train(
    of_split: dict[str, PromptedTask],
    mitigation: Mitigation,
    folder: Path,
    config: Config,
    progress: bool,
) -> Tuned:
    """Tunes every decoder on the training split, and measures it on the validation split."""
    words, task = config["prompting"], of_split["train"]
    shown = prompts.PromptPlan((words["shown"],), 1, words["jitter"], config["seed"])

    def examples(name: str, plan: prompts.PromptPlan) -> Examples:
        part = dataclasses.replace(of_split[name], plan=plan)
        codes = part.dataset.groups(mitigation.attribute)[0]
        threads = config["embedding"]["threads"]
        return make_examples(part, codes, threads=threads, progress=progress)

    assert task.source is not None
    return tune(
        task.segmenter,
        task.source,
        examples("train", mitigation.prompts),
        examples("validation", shown),
        task.dataset.groups(mitigation.attribute)[1],
        mitigation.runs,
        mitigation.config,
        folder,
        seed=config["seed"],
        memory_bytes=config["memory_gib"] * 2**30,
        progress=progress,
    )


def measure(
    test: PromptedTask, tuned: Tuned, cache: Path, config: Config, progress: bool
) -> dict[str, dict[int, Measured]]:
    """Method → seed → what its selected decoders make of the test split."""
    by_name = {run.name: run for run in tuned.runs}
    measured: dict[str, dict[int, Measured]] = {}
    for method, names in select(tuned.table()).items():
        for run in (by_name[name] for name in names):
            measured.setdefault(method, {})[run.seed] = infer.segment(
                dataclasses.replace(test, segmenter=tuned.segmenter(run)),
                cache / "segmentations",
                **config["embedding"],
                progress=progress,
            )
    return measured


def notes(
    mitigation: Mitigation,
    runs: pd.DataFrame,
    differences: pd.DataFrame,
    shown: str,
    selection: str,
) -> list[str]:
    """What a reader of the report must know of the tuned decoders."""
    chosen, table = select(runs), losses.methods()
    said = [
        f"Decoders were tuned on the training side with {mitigation.attribute} as the attribute; learning rate, strength and "
        f"epoch were chosen on the validation side ({mitigation.config.select} Dice); every number here is of the test side. "
        f"A method's value of an object is the mean over {len(next(iter(chosen.values())))} seeds."
    ]
    overall = differences.query(
        f"prompt == {shown!r} and selection == {selection!r} and metric == 'dice' and attribute == 'all'"
    )
    for row in overall.itertuples():
        title = table[row.a].title if row.a in table else row.a
        low, high = f"{row.ci_low:+.3f}", f"{row.ci_high:+.3f}"
        said.append(
            f"Dice of {row.a} ({title}) minus {row.b}, {shown}: {row.value:+.3f} [{low}, {high}]."
        )
    return said


def describe(mitigation: Mitigation, of_split: dict[str, PromptedTask]) -> dict[str, Any]:
    """What would be tuned, in words."""
    counts = ", ".join(f"{name} {len(part.dataset)} images" for name, part in of_split.items())
    methods = dict.fromkeys(run.method for run in mitigation.runs)
    config = mitigation.config
    encoder = f"with LoRA of rank {config.lora_rank}" if config.lora_rank else "frozen"
    return {
        "split": counts,
        "mitigation": f"{len(mitigation.runs)} decoders by {', '.join(methods)}, "
        f"{config.epochs} epochs each; image encoder {encoder}",
    }
