"""How a foundation model is used: a table of usages. To add one, add an object to `USAGES`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fairjax.tasks.classification.condition import Condition, Forecast, Usage
from fairjax.tasks.classification.sections import TrainingConfig
from fairjax.tasks.classification.subject import Subject
from fairjax.tasks.config import ClassificationConfig
from fairjax.tasks.sections import strengths_of
from fairjax.training import class_prompts
from fairjax.training import sweep as training
from fairjax.training.convex import sweep as convex
from fairjax.training.engine import Plan, plan
from fairjax.training.lora import sweep as lora
from fairjax.training.lora.tower import LoRA
from fairjax.training.objectives import parse
from fairjax.training.program import TrainSpec
from fairjax.training.runs import Run, expand
from fairjax.training.store import Sweep


@dataclasses.dataclass(frozen=True)
class Probe(Usage):
    """A head on embeddings.

    Attributes:
      head: a key of `fairjax.training.heads.HEADS`.
    """

    head: str = "linear"

    def program(self, condition: Condition, subject: Subject) -> TrainSpec:
        """What is compiled."""
        groups = condition.groups(subject.dataset, subject.splits == "train")
        return training.make_program(condition.probe, condition.method, self.head, groups)

    def plan(self, condition: Condition, subject: Subject) -> Plan:
        """How the sweep is cut."""
        program, width = self.program(condition, subject), subject.card["probe_width"]
        return plan(condition.runs, program, subject.sizes, width, subject.config.memory_bytes)

    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses a method that needs groups and has none, and what does not fit into memory."""
        self.plan(condition, subject)

    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says how many chunks there are, and what they take."""
        cut = self.plan(condition, subject)
        text = (
            f"{len(condition.runs)} runs in {cut.chunks} chunks of {cut.width}; "
            f"{cut.flops / 1e9:,.1f} GFLOP, {cut.bytes_per_chunk / 2**20:,.0f} MiB per device"
        )
        return Forecast((self.program(condition, subject), cut.width), text, cut.flops)

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Trains heads on the embeddings that linear probes take."""
        options = sweep_options(condition, subject)
        return training.sweep(
            subject.features,
            condition.runs,
            condition.probe,
            directory,
            head=self.head,
            **options,
        )


class TextProbe(Probe):
    """A head that begins at text embeddings of the classes."""

    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses a model without texts, and classes without descriptions."""
        check_texts(subject)
        class_prompts.require_cosines(subject.encoder.module)
        super().check(condition, subject)

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Trains heads on the embeddings that are compared with texts."""
        module: Any = subject.encoder.module  # `check` has seen that it compares with texts
        constants = class_prompts.prototype_constants(module, subject.classes)
        features = subject.images()
        key = {**features.key, "prompts": dataclasses.asdict(subject.config.prompts)}
        return training.sweep(
            dataclasses.replace(features, constants=constants, key=key),
            condition.runs,
            condition.probe,
            directory,
            head=self.head,
            **sweep_options(condition, subject),
        )


class ConvexProbe(Usage):
    """A linear probe at the optimum of its loss."""

    def runs(self, config: ClassificationConfig, method: str) -> list[Run]:
        """Weight decays × strengths: the optimum does not depend on the learning rate, and the seed
        only chooses who is resampled.
        """
        cfg = config.training
        strengths = strengths_of(parse(method).strength, cfg.strengths, "training")
        seeds = config.seeds if cfg.resample != "none" else 1
        return expand(seeds, (0.0,), cfg.weight_decays, strengths)

    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses a method whose loss is not convex."""
        groups = condition.groups(subject.dataset, subject.splits == "train")
        convex.check(condition.probe, condition.method, groups)

    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says how many optima are sought."""
        return Forecast(self.name, f"{len(condition.runs)} runs to their optimum")

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Finds the optimum of every run."""
        options = sweep_options(condition, subject)
        return convex.sweep(subject.features, condition.runs, condition.probe, directory, **options)


class ZeroShot(Usage):
    """Zero-shot classification: nothing is trained."""

    def methods(self, cfg: TrainingConfig) -> Sequence[str]:
        """Returns `none`, as the results call it."""
        return ("none",)

    def needs_groups(self, method: str) -> bool:
        """Returns False: there is no method."""
        return False

    def runs(self, config: ClassificationConfig, method: str) -> list[Run]:
        """One, without seed or hyper-parameters."""
        return [class_prompts.ONLY_RUN]

    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses a model without texts, and classes without descriptions."""
        check_texts(subject)

    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says that there is nothing to train."""
        return Forecast(self.name, "nothing to train; prompts and images are embedded")

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Compares every image with the texts of both classes."""
        module: Any = subject.encoder.module  # `check` has seen that it compares with texts
        logits = class_prompts.logits_of(module, subject.classes)
        return class_prompts.zero_shot_sweep(subject.images(logits), subject.classes, directory)


@dataclasses.dataclass(frozen=True)
class LoRATower(Probe):
    """Low-rank additions to the image tower, with a head.

    Attributes:
      rank: rank of the additions.
    """

    rank: int = 0

    def variants(self, cfg: TrainingConfig) -> Iterator[Usage]:
        """Yields a usage for each rank."""
        for rank in cfg.lora_ranks:
            name = f"{self.name}_{rank}" if len(cfg.lora_ranks) > 1 else self.name
            yield dataclasses.replace(self, name=name, rank=rank)

    def check(self, condition: Condition, subject: Subject) -> None:
        """Refuses a tower without layers for LoRA, and images in an order for each run."""
        lora.check(condition.probe, subject.card["model"], LoRA(self.rank))
        self.program(condition, subject)

    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says that images pass through the tower."""
        text = f"{len(condition.runs)} runs of rank {self.rank}: images pass through the tower"
        return Forecast((self.program(condition, subject), self.rank), text)

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Trains additions and heads."""
        config = subject.config
        return lora.sweep_lora(
            subject.dataset,
            subject.rows,
            subject.encoder,
            subject.features,
            condition.runs,
            condition.probe,
            directory,
            model=subject.card["model"],
            settings=LoRA(self.rank, config.training.lora_alpha),
            head=self.head,
            threads=config.embedding.threads,
            processes=config.embedding.processes,
            **sweep_options(condition, subject),
        )


def check_texts(subject: Subject) -> None:
    """Refuses a model without a text tower, and classes without a description."""
    _ = subject.text_encoder
    class_prompts.require_texts(subject.encoder.module)
    class_prompts.class_prompts(subject.dataset, **dataclasses.asdict(subject.config.prompts))


def sweep_options(condition: Condition, subject: Subject) -> dict[str, Any]:
    """What all sweeps of trained runs take."""
    return {
        "method": condition.method,
        "groups": condition.groups(subject.dataset, subject.rows["train"]),
        "seed": subject.config.seed,
        "memory_bytes": subject.config.memory_bytes,
        "shard": subject.shard,
        "progress": subject.progress,
    }


USAGES: dict[str, Usage] = {
    usage.name: usage
    for usage in (
        ZeroShot("zero_shot", "zero-shot classification"),
        Probe("linear_probe", "linear probe"),
        Probe("mlp_probe", "probe with a hidden layer", head="mlp"),
        ConvexProbe("convex_probe", "linear probe at its optimum"),
        TextProbe("prototypes", "prototypes that begin at the classes' descriptions", "prototypes"),
        TextProbe(
            "clip_adapter",
            "CLIP-Adapter that begins near the classes' descriptions",
            "clip_adapter",
        ),
        LoRATower("lora", "LoRA on the tower with a linear head"),
    )
}
