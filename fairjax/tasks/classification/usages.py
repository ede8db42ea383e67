"""How a foundation model is used: a table of usages, each of which makes a sweep of the runs of a
cell.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fairjax import embeddings
from fairjax.datasets.dataset import SPLITS, Dataset
from fairjax.embeddings import Embeddings, Encoder
from fairjax.tasks.classification.condition import Cell, Usage
from fairjax.tasks.setup import Config, split_features
from fairjax.training import class_prompts
from fairjax.training import sweep as training
from fairjax.training.convex import sweep as convex_sweep
from fairjax.training.engine import plan
from fairjax.training.lora import sweep as lora
from fairjax.training.lora.tower import LoRA
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features

USAGES = {
    row.name: row
    for row in (
        Usage("zero_shot", "zero-shot classification", "zero_shot"),
        Usage("linear_probe", "linear probe"),
        Usage("mlp_probe", "probe with a hidden layer", head="mlp"),
        Usage("convex_probe", "linear probe at its optimum", "convex"),
        Usage(
            "prototypes",
            "prototypes that begin at the classes' descriptions",
            "described",
            "prototypes",
        ),
        Usage(
            "clip_adapter",
            "CLIP-Adapter that begins near the classes' descriptions",
            "described",
            "clip_adapter",
        ),
        Usage("lora", "LoRA on the tower with a linear head", "lora"),
    )
}


@dataclasses.dataclass
class Subject:
    """What is used: a model and a split dataset; embeddings are made when a usage asks for them.

    Attributes:
      dataset, side: images, and who is where.
      encoder: the frozen tower.
      model, directory: the zoo's name of the model, and its directory.
      embedded: what linear probes take.
      cache: the folder of caches.
      config: of the experiment.
      share: (index, count) of the process.
      show_progress: whether to show bars.
    """

    dataset: Dataset
    side: np.ndarray
    encoder: Encoder
    model: str
    directory: Path
    embedded: Embeddings
    cache: Path
    config: Config
    share: tuple[int, int] = (0, 1)
    show_progress: bool = True

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """Split → the readable images that are in it."""
        return {name: np.flatnonzero((self.side == name) & self.embedded.valid) for name in SPLITS}

    @functools.cached_property
    def features(self) -> Features:
        """What linear probes take, by split."""
        return split_features(self.dataset, self.embedded, self.side)

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """Text embeddings (2, d) of the negative and the positive class."""
        words = self.config["prompts"]
        encoder = embeddings.load_text_encoder(self.directory, self.config["model"]["dtype"])
        return class_prompts.embed_classes(self.dataset, encoder, self.cache / "prompts", **words)

    def images(self, keep: Callable[[np.ndarray], np.ndarray] | None = None) -> Features:
        """Image embeddings that are compared with texts, or what is kept of them, by split."""
        embedded = embeddings.embed(
            self.dataset,
            self.encoder.of("image"),
            self.cache / "embeddings",
            **self.config["embedding"],
            keep=keep,
            share=self.share,
            show_progress=self.show_progress,
        )
        return split_features(self.dataset, embedded, self.side)

    def options(self, cell: Cell) -> dict[str, Any]:
        """What all sweeps of trained runs are told."""
        return {
            "method": cell.method,
            "groups": cell.groups(self.dataset, self.rows["train"]),
            "seed": self.config["seed"],
            "memory_bytes": self.config["memory_gib"] * 2**30,
            "shard": self.share,
            "progress": self.show_progress,
        }


def _head(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    options = subject.options(cell)
    return training.sweep(
        subject.features, cell.runs, cell.probe, folder, head=cell.usage.head, **options
    )


def _convex(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    return convex_sweep.sweep(
        subject.features, cell.runs, cell.probe, folder, **subject.options(cell)
    )


def _described(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    constants = class_prompts.prototype_constants(subject.encoder.module, subject.classes)
    features = dataclasses.replace(subject.images(), constants=constants)
    features = dataclasses.replace(
        features, key={**features.key, "prompts": dict(subject.config["prompts"])}
    )
    options = subject.options(cell)
    return training.sweep(features, cell.runs, cell.probe, folder, head=cell.usage.head, **options)


def _zero_shot(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    logits = class_prompts.logits_of(subject.encoder.module, subject.classes)
    return class_prompts.zero_shot_sweep(subject.images(logits), subject.classes, folder)


def _lora(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    words = subject.config
    return lora.sweep_lora(
        subject.dataset,
        subject.rows,
        subject.encoder,
        subject.features,
        cell.runs,
        cell.probe,
        folder,
        model=subject.model,
        settings=LoRA(cell.usage.rank, words["training"]["lora_alpha"]),
        head=cell.usage.head,
        threads=words["embedding"]["threads"],
        processes=words["embedding"]["processes"],
        **subject.options(cell),
    )


KINDS: dict[str, Callable[[Cell, Subject, Path], Sweep]] = {
    "head": _head,
    "convex": _convex,
    "described": _described,
    "zero_shot": _zero_shot,
    "lora": _lora,
}


def train(cell: Cell, subject: Subject, folder: Path) -> Sweep:
    """The sweep of a cell: what of it is not on disk is trained.

    Args:
      cell: what to train.
      subject: on what.
      folder: of the scores.

    Raises:
      UserError: the usage is not for this model or dataset, or does not go with the method.
    """
    return KINDS[cell.usage.kind](cell, subject, folder)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What training a cell would take.

    Attributes:
      program: equal for cells that share a compiled program.
      text: in words.
      flops: of heads on embeddings.
    """

    program: Any
    text: str
    flops: float = 0.0


def forecast(
    cell: Cell, dataset: Dataset, side: np.ndarray, width: int, config: Config
) -> Forecast:
    """Says what training a cell would take, on features of some width.

    Raises:
      UserError: the cell cannot be.
    """
    usage, count, groups = cell.usage, len(cell.runs), cell.groups(dataset, side == "train")
    if usage.kind == "zero_shot":
        return Forecast(usage.kind, "nothing to train; prompts and images are embedded")
    if usage.kind == "convex":
        convex_sweep.check(cell.probe, cell.method, groups)
        return Forecast(usage.kind, f"{count} runs to their optimum")
    program = training.make_program(cell.probe, cell.method, usage.head, groups)
    if usage.kind == "lora":
        return Forecast(
            (program, usage.rank),
            f"{count} runs of rank {usage.rank}: images pass through the tower",
        )
    sizes = {name: int((side == name).sum()) for name in SPLITS}
    cut = plan(cell.runs, program, sizes, width, config["memory_gib"] * 2**30)
    text = (
        f"{count} runs in {cut.chunks} chunks of {cut.width}; {cut.flops / 1e9:,.1f} GFLOP, "
        f"{cut.bytes_per_chunk / 2**20:,.0f} MiB per device"
    )
    return Forecast((program, cut.width), text, cut.flops)
