"""The cells of an experiment: usage × method × the attribute that the method is told of. Each is a sweep of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import Embeddings
from fairjax.errors import UserError, lookup
from fairjax.experiment import Config, split_features
from fairjax.training import convex_sweep
from fairjax.training import sweep as training
from fairjax.training.engine import Plan
from fairjax.training.objectives import parse
from fairjax.training.postprocess import POSTPROCESSORS
from fairjax.training.postprocessed import Postprocessed
from fairjax.training.program import ProbeConfig, Program
from fairjax.training.runs import Run, expand
from fairjax.training.store import Sweep

GRID_KEYS = ("learning_rates", "weight_decays")
CELL_KEYS = (
    "methods",
    "usages",
    "sensitive",
    "strengths",
    "select",
    "postprocess",
)  # of `training`, that are not of a program


@dataclasses.dataclass(frozen=True)
class Usage:
    """How a foundation model is used.

    Attributes:
      name, title: how it is called, and in words.
      head: of `fairjax.training.heads.HEADS`.
      convex: whether the head is fitted to its optimum, in place of being trained for some epochs.
    """

    name: str
    title: str
    head: str
    convex: bool = False


USAGES = {
    row.name: row
    for row in (
        Usage("linear_probe", "linear probe", "linear"),
        Usage("mlp_probe", "probe with a hidden layer", "mlp"),
        Usage("convex_probe", "linear probe at its optimum", "linear", convex=True),
    )
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Runs that differ in seed, learning rate, weight decay and strength.

    Attributes:
      usage: a row of `USAGES`.
      method: of `objectives.METHODS`, in its wrappers.
      sensitive: the attribute that the method is told of; "" for methods that are told of none.
      runs: what to train.
      probe: how.
      postprocess: of `postprocess.POSTPROCESSORS`, with the groups of `sensitive`; "" leaves scores as they are.
    """

    usage: Usage
    method: str
    sensitive: str
    runs: tuple[Run, ...]
    probe: ProbeConfig
    postprocess: str = ""

    @property
    def name(self) -> str:
        """`linear_probe/group_dro[sex]`, `linear_probe/erm>platt[sex]`."""
        return f"{self.usage.name}/{self.facts['method']}" + (f"[{self.sensitive}]" if self.sensitive else "")

    @property
    def facts(self) -> dict[str, str]:
        """Columns of the results that are the same for all of its runs."""
        method = self.method + (f">{self.postprocess}" if self.postprocess else "")
        return {"usage": self.usage.name, "method": method, "sensitive": self.sensitive}

    @property
    def decides(self) -> bool:
        """Whether its scores are decisions, 0 or 1."""
        return bool(self.postprocess) and POSTPROCESSORS[self.postprocess].gives == "decisions"

    def groups(self, dataset: Dataset, rows: np.ndarray) -> training.Groups | None:
        """The groups that the method is told of, for some rows."""
        if not self.sensitive:
            return None
        codes, names = dataset.groups(self.sensitive)
        return training.Groups(codes[rows], len(names))

    def program(self, groups: training.Groups | None) -> Program:
        """What is compiled for it."""
        return training.make_program(self.probe, self.method, self.usage.head, groups)


def expand_cells(config: Config, attributes: Sequence[str]) -> list[Cell]:
    """Every cell, in the order of usages, methods, attributes.

    Raises:
      UserError: an unknown name, or a grid that is none.
    """
    words = config["training"]
    sensitive = words["sensitive"] or attributes
    for name in sensitive:
        lookup("attribute in training.sensitive", name, dict.fromkeys(attributes))
    rules = [lookup("post-processor", name, POSTPROCESSORS) and name for name in words["postprocess"]]
    return [
        Cell(usage, method, attribute, tuple(runs_of(config, method, usage)), probe_of(config), rule)
        for usage in _distinct("usages", words["usages"], USAGES)
        for method in _distinct("methods", words["methods"])
        for rule in ("", *rules)
        for attribute in (sensitive if rule or parse(method).objective.grouped else ("",))
    ]


def _distinct(key: str, names: Sequence[str], table: Mapping[str, Any] | None = None) -> Iterator[Any]:
    if not names or len(set(names)) < len(names):
        raise UserError(f"training.{key} must be distinct names, at least one, not {tuple(names)}")
    return (lookup(key.rstrip("s"), name, table) if table else name for name in names)


def runs_of(config: Config, method: str, usage: Usage) -> list[Run]:
    """Seeds × learning rates × weight decays × strengths of a method.

    Raises:
      UserError: an unknown method, or values that are no grid.
    """
    words, strength = config["training"], parse(method).strength
    strengths: Sequence[float | None] = (None,)
    if strength:
        named = {"default": (strength.default,), "path": strength.path}
        asked = words["strengths"]
        strengths = lookup("training.strengths", asked, named) if isinstance(asked, str) else asked
    if usage.convex:  # the optimum does not depend on the way; the seed only chooses who is resampled
        seeds = config["seeds"] if words["resample"] != "none" else 1
        return expand(seeds, (0.0,), words["weight_decays"], strengths)
    return expand(config["seeds"], words["learning_rates"], words["weight_decays"], strengths)


def probe_of(config: Config) -> ProbeConfig:
    """How runs are trained. The epoch with the least loss is kept where the mean loss is all that methods lower."""
    words = {key: value for key, value in config["training"].items() if key not in (*GRID_KEYS, *CELL_KEYS)}
    if words["keep"] == "auto":
        words["keep"] = "best" if set(config["training"]["methods"]) == {"erm"} else "last"
    return ProbeConfig(**words)


def train(
    cell: Cell,
    dataset: Dataset,
    embedded: Embeddings,
    side: np.ndarray,
    config: Config,
    folder: Path,
    *,
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
) -> Sweep:
    """Trains what of a cell is not on disk.

    Args:
      cell: what to train.
      dataset, embedded, side: images, their embeddings, and who is where.
      config: of the experiment.
      folder: of the scores.
      share: (index, count) of the process.
      show_progress: whether to show a bar.
    """
    rows = (side == "train") & embedded.valid
    options: dict[str, Any] = {
        "method": cell.method,
        "groups": cell.groups(dataset, rows),
        "seed": config["seed"],
        "memory_bytes": config["memory_gib"] * 2**30,
        "share": share,
        "show_progress": show_progress,
    }
    features = split_features(dataset, embedded, side)
    if cell.usage.convex:
        return convex_sweep.sweep(features, cell.runs, cell.probe, folder, **options)
    return training.sweep(features, cell.runs, cell.probe, folder, head=cell.usage.head, **options)


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


def plan_cell(cell: Cell, dataset: Dataset, side: np.ndarray, width: int, config: Config) -> tuple[Program, Plan]:
    """The program of a cell, and how its runs would be cut."""
    program = cell.program(cell.groups(dataset, side == "train"))
    sizes = {name: int((side == name).sum()) for name in ("train", "validation", "test")}
    return program, training.plan(cell.runs, program, sizes, width, config["memory_gib"] * 2**30)
