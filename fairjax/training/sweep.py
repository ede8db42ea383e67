"""A sweep: many runs of one method, in chunks that are trained once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped
from tqdm import tqdm

from fairjax import __version__, distributed, progress
from fairjax.errors import UserError, lookup
from fairjax.io import hash_arrays, hash_json, write_json
from fairjax.training import store
from fairjax.training.engine import Engine, Plan, plan
from fairjax.training.heads import HEADS
from fairjax.training.objectives import parse
from fairjax.training.program import ProbeConfig, ProbeData, Program, sample_weights
from fairjax.training.runs import Run
from fairjax.training.store import Sweep


@dataclasses.dataclass(frozen=True)
class Features:
    """Embeddings and labels of the three splits, on the host.

    Attributes:
      x, y: split name → (n, d) float32 and (n,) labels in {0, 1}.
      patients: (n,) the patient of each training sample, as codes or names.
      key: what the features, labels, patients and splits are a function of.
      constants: of heads that begin at descriptions of the classes (`heads.Head.prototypes`).
    """

    x: dict[str, Float[np.ndarray, "n d"]]
    y: dict[str, np.ndarray]
    patients: Shaped[np.ndarray, " n"]
    key: dict[str, Any]
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def standardized(self) -> Features:
        """Z-scores by the training split's mean and standard deviation (a constant feature becomes 0)."""
        mean, deviation = self.x["train"].mean(0), self.x["train"].std(0)
        scale = np.where(deviation > 1e-8, 1 / np.maximum(deviation, 1e-8), 0).astype(np.float32)
        return dataclasses.replace(self, x={split: (x - mean) * scale for split, x in self.x.items()})

    def unit(self) -> Features:
        """Embeddings of length 1."""
        lengths = {split: np.linalg.norm(x, axis=1, keepdims=True) for split, x in self.x.items()}
        return dataclasses.replace(
            self, x={split: x / np.maximum(lengths[split], 1e-12) for split, x in self.x.items()}
        )


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of the attribute that a method is told of.

    Attributes:
      codes: (n,) the group of each training sample, below `count`; -1 where it is not known.
      count: how many groups there are.
    """

    codes: Int[np.ndarray, " n"]
    count: int

    def membership(self) -> Float[np.ndarray, "n g"]:
        """1 where a sample is of a group."""
        return (self.codes[:, None] == np.arange(self.count)).astype(np.float32)


def make_program(
    config: ProbeConfig, method: str = "erm", head: str = "linear", groups: Groups | None = None
) -> Program:
    """What is to be compiled.

    Raises:
      UserError: an unknown method or head, or a method that must be told of groups and is not.
    """
    parsed, row = parse(method), lookup("head", head, HEADS)
    if parsed.objective.grouped and groups is None:
        raise UserError(f"method {method!r} needs an attribute whose groups it is told of")
    return Program(config, row, parsed, groups.count if groups and parsed.objective.grouped else 0)


def sweep(
    features: Features,
    runs: Sequence[Run],
    config: ProbeConfig,
    folder: Path,
    *,
    method: str = "erm",
    head: str = "linear",
    groups: Groups | None = None,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
) -> Sweep:
    """Trains every run that is not on disk yet.

    A run's result depends on its seed and hyper-parameters, not on who it is swept with: bit for bit where the chunks
    have the same width, and to about 1e-6 where not (a matmul of another width may sum in another order).

    Args:
      features: embeddings and labels of the splits `train`, `validation` and `test`.
      runs: what to train.
      config: how.
      folder: where chunks are kept, below a folder named by the hash of all that a run's result depends on.
      method: of `objectives.METHODS`, in its wrappers: `group_dro+swad`.
      head: of `heads.HEADS`.
      groups: of the training samples, for methods that are told of them.
      seed: of the experiment, from which every run's streams are folded.
      memory_bytes: budget per device.
      share: (index, count) of the process: it trains the chunks index, index + count, …
      show_progress: whether to show a bar with runs/s and the time left.

    Returns:
      A `Sweep`.

    Raises:
      UserError: a chunk does not fit into memory, or the method and what it is given do not go together.
    """
    program = make_program(config, method, head, groups)
    cut = plan_of(features, runs, program, memory_bytes)
    folder = keyed(folder, features, config, method, head, groups, seed)

    def trainer() -> Trainer:
        engine = make_engine(features, program, groups, seed)
        return lambda part, bar: engine.train(part, cut.width, bar)

    return fill(folder, runs, cut.width, trainer, f"training {method}", share, show_progress)


Trainer = Callable[[list[Run], tqdm], store.Arrays]  # runs of a chunk, and the bar to advance → their arrays


def keyed(
    folder: Path, features: Features, config: ProbeConfig, method: str, head: str, groups: Groups | None, seed: int
) -> Path:
    """The folder of all runs of one usage of features, made; its name is the hash of what their results depend on."""
    told = parse(method).objective.grouped and groups
    identity = {
        "fairjax": __version__,
        "features": features.key,
        "config": dataclasses.asdict(config),
        "method": method,
        "head": head,
        "groups": hash_arrays({"codes": groups.codes}) if told and groups else "",
        "seed": seed,
    }
    folder = folder / hash_json(identity)[:12]
    write_json(folder / "sweep.json", identity)
    return folder


def fill(
    folder: Path,
    runs: Sequence[Run],
    width: int,
    trainer: Callable[[], Trainer],
    what: str,
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
) -> Sweep:
    """Trains the runs that a folder lacks, in chunks of `width`, each kept as soon as it is done.

    Args:
      folder: of the chunks.
      runs: what must be there in the end.
      width: runs per chunk.
      trainer: makes what trains a chunk; called once, if at all.
      what: names the work on the bar.
      share: (index, count) of the process.
      show_progress: whether to show a bar.
    """
    done = {name for chunk in store.read(folder) for name in chunk.names}
    missing = [run for run in runs if run.name not in done]
    chunks = [missing[start : start + width] for start in range(0, len(missing), width)]
    mine = chunks[share[0] :: share[1]]
    distributed.barrier("to train")  # nobody adds a chunk before everybody has seen what is missing
    try:
        if mine:
            train = trainer()
            with progress.bar(what, "run", sum(map(len, mine)), show=show_progress) as bar:
                for part in mine:
                    store.write(store.chunk_of(folder, part), train(part, bar))
    finally:
        distributed.barrier("trained")  # also where this process failed: the others do not wait for ever
    return store.gather(folder, runs)


def plan_of(features: Features, runs: Sequence[Run], program: Program, memory_bytes: float) -> Plan:
    """How runs on these features are cut."""
    sizes = {split: len(y) for split, y in features.y.items()}
    return plan(runs, program, sizes, features.x["train"].shape[1], memory_bytes)


def make_engine(features: Features, program: Program, groups: Groups | None, seed: int) -> Engine:
    """The engine of a program, with its data."""
    data, x_test = make_data(features, program, groups)
    return Engine(program, data, x_test, jax.random.key(seed))


def make_data(
    features: Features, program: Program, groups: Groups | None
) -> tuple[ProbeData, Float[np.ndarray, "n d"]]:
    """What a program trains on, with features as its head wants them, and the features of the test split."""
    config = program.config
    if program.head.unit:
        features = features.unit()
    elif config.standardize:
        features = features.standardized()
    y = {split: np.asarray(labels, np.float32) for split, labels in features.y.items()}
    n = len(y["train"])
    data = ProbeData(
        jnp.asarray(features.x["train"]),
        jnp.asarray(y["train"]),
        jnp.asarray(sample_weights(y["train"], config.class_weight)),
        jnp.asarray(np.unique(features.patients, return_inverse=True)[1], jnp.int32),
        jnp.asarray(groups.membership() if program.groups and groups else np.zeros((n, 0), np.float32)),
        jnp.asarray(features.x["validation"]),
        jnp.asarray(y["validation"]),
        {name: jnp.asarray(value) for name, value in features.constants.items()} if program.head.prototypes else {},
    )
    return data, features.x["test"]
