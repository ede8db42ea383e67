"""The cells of an experiment: usage × method × the attribute that the method is told of. Each is a
sweep of runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairjax.datasets.dataset import Dataset
from fairjax.tasks.classification.condition import NO_METHOD, Cell, Usage
from fairjax.tasks.classification.usages import USAGES
from fairjax.tasks.setup import Config
from fairjax.training.class_prompts import ONLY_RUN
from fairjax.training.objectives import parse
from fairjax.training.postprocessing.sweep import Postprocessed
from fairjax.training.postprocessing.table import POSTPROCESSORS
from fairjax.training.program import KEEPS, ProbeConfig
from fairjax.training.runs import Run, expand
from fairjax.training.store import Sweep
from fairjax.utils.errors import UserError, lookup

# Keys of `training` that are not of a program.
OWN_KEYS = (
    "usages",
    "methods",
    "postprocess",
    "sensitive",
    "strengths",
    "select",
    "learning_rates",
    "weight_decays",
    "lora_ranks",
    "lora_alpha",
)


def expand_cells(config: Config, attributes: Sequence[str]) -> list[Cell]:
    """Every cell, in the order of usages, methods, attributes.

    Raises:
      UserError: an unknown name, or a grid that is none.
    """
    words = config["training"]
    sensitive = words["sensitive"] or attributes
    for name in sensitive:
        lookup("attribute in training.sensitive", name, dict.fromkeys(attributes))
    rules = [
        "",
        *(lookup("post-processor", name, POSTPROCESSORS) and name for name in words["postprocess"]),
    ]
    return [
        Cell(
            usage, method, attribute, tuple(runs_of(config, method, usage)), probe_of(config), rule
        )
        for usage in _usages(config)
        for method in _distinct("methods", words["methods"] if usage.trained else (NO_METHOD,))
        for rule in rules
        for attribute in (sensitive if rule or needs_groups(method) else ("",))
    ]


def needs_groups(method: str) -> bool:
    """Whether a method must be told of an attribute."""
    return method != NO_METHOD and parse(method).objective.grouped


def _usages(config: Config) -> Iterator[Usage]:
    """Every usage; LoRA once for each rank.

    Raises:
      UserError: an unknown usage, or a rank that is none.
    """
    ranks = tuple(_distinct("lora_ranks", config["training"]["lora_ranks"]))
    if min(ranks) < 1 or config["training"]["lora_alpha"] <= 0:
        raise UserError(
            f"training.lora_ranks must be at least 1, and lora_alpha above 0, not {ranks}"
        )
    for usage in _distinct("usages", config["training"]["usages"], USAGES):
        yield from usage.ranked(ranks)


def _distinct(
    key: str, names: Sequence[str], table: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    if not names or len(set(names)) < len(names):
        raise UserError(f"training.{key} must be distinct, at least one, not {tuple(names)}")
    return (lookup(key.rstrip("s"), name, table) if table else name for name in names)


def runs_of(config: Config, method: str, usage: Usage) -> list[Run]:
    """Seeds × learning rates × weight decays × strengths of a method.

    Raises:
      UserError: an unknown method, or values that are no grid.
    """
    if method == NO_METHOD:
        return [ONLY_RUN]
    words, strength = config["training"], parse(method).strength
    strengths: Sequence[float | None] = (None,)
    if strength:
        named = {"default": (strength.default,), "path": strength.path}
        asked = [
            lookup("training.strengths", s, named) if isinstance(s, str) else (s,)
            for s in words["strengths"]
        ]
        strengths = [value for values in asked for value in values]
    if (
        usage.kind == "convex"
    ):  # the optimum does not depend on the way; the seed only chooses who is resampled
        seeds = config["seeds"] if words["resample"] != "none" else 1
        return expand(seeds, (0.0,), words["weight_decays"], strengths)
    return expand(config["seeds"], words["learning_rates"], words["weight_decays"], strengths)


def probe_of(config: Config) -> ProbeConfig:
    """How runs are trained. The epoch with the least loss is kept where the mean loss is all that
    methods lower.
    """
    words = {key: value for key, value in config["training"].items() if key not in OWN_KEYS}
    if words["keep"] not in ("auto", *KEEPS):
        raise UserError(f"training.keep must be one of {('auto', *KEEPS)}, not {words['keep']!r}")
    if words["keep"] == "auto":
        lowers = [parse(method).lowers_mean_loss for method in config["training"]["methods"]]
        words["keep"] = "best" if all(lowers) else "last"
    return ProbeConfig(**words)


def postprocessed(cell: Cell, sweep: Sweep, validation: Dataset, test: Dataset, seed: int) -> Sweep:
    """The sweep with the scores of the cell: post-processed, if it says so.

    Args:
      cell: of the sweep.
      sweep: with scores of the rows of `validation` and `test`.
      validation, test: who the scores are of.
      seed: of the experiment.
    """
    if not cell.postprocess:
        return sweep
    codes, names = validation.groups(cell.sensitive)
    plain = {field.name: getattr(sweep, field.name) for field in dataclasses.fields(sweep)}
    return Postprocessed(
        **plain,
        rule=cell.postprocess,
        labels=validation.labels,
        validation_groups=codes,
        test_groups=test.groups(cell.sensitive)[0],
        groups=tuple(names),
        seed=seed,
    )
