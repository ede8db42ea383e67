"""A sweep: many runs of one method, in chunks that are trained once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from fairjax import __version__
from fairjax.training import store
from fairjax.training.engine import Engine, Plan, plan
from fairjax.training.heads import HEADS
from fairjax.training.objectives import parse
from fairjax.training.program import ProbeConfig, ProbeData, TrainSpec, sample_weights
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.utils import distributed, plugins
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.progress import advance, bar
from fairjax.utils.storage import hash_arrays, hash_json, write_json


@dataclasses.dataclass(frozen=True)
class Features:
    """Embeddings and labels of the three splits, on the host.

    Attributes:
      x, y: split name → (n, d) float32 and (n,) labels in {0, 1}.
      patients: (n,) the patient of each training sample, as codes or names.
      key: what the features, labels, patients and splits are a function of.
      constants: what heads are given that begin at descriptions (`heads.Head.prototypes`).
    """

    x: dict[str, Float[np.ndarray, "n d"]]
    y: dict[str, np.ndarray]
    patients: Shaped[np.ndarray, " n"]
    key: dict[str, Any]
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def standardized(self) -> Features:
        """Z-scores by the training split's mean and standard deviation (a constant feature becomes
        0).
        """
        mean, scale = self.scaling()
        return dataclasses.replace(
            self, x={split: (x - mean) * scale for split, x in self.x.items()}
        )

    def scaling(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """The mean of the training split, and what z-scoring multiplies by."""
        mean, deviation = self.x["train"].mean(0), self.x["train"].std(0)
        return mean, np.where(deviation > 1e-8, 1 / np.maximum(deviation, 1e-8), 0).astype(
            np.float32
        )

    def unit(self) -> Features:
        """Embeddings of length 1."""
        lengths = {split: np.linalg.norm(x, axis=1, keepdims=True) for split, x in self.x.items()}
        return dataclasses.replace(
            self, x={split: x / np.maximum(lengths[split], 1e-12) for split, x in self.x.items()}
        )


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of the attribute that a method uses.

    Attributes:
      codes: (n,) the group of each training sample, below `count`; -1 where it is not known.
      count: how many groups there are.
    """

    codes: Int[np.ndarray, " n"]
    count: int

    def membership(self) -> Float[np.ndarray, "n g"]:
        """1 where a sample is of a group."""
        return (self.codes[:, None] == np.arange(self.count)).astype(np.float32)


@runtime_checkable
class ChunkTrainer(Protocol):
    """What trains the chunks of a sweep."""

    def train(
        self, runs: list[Run], width: int, advance: Callable[[float], Any]
    ) -> dict[str, np.ndarray]:
        """Trains one chunk; see `fairjax.training.engine.Trainer`."""


def make_program(
    config: ProbeConfig, method: str = "erm", head: str = "linear", groups: Groups | None = None
) -> TrainSpec:
    """What is to be compiled.

    Raises:
      UserError: an unknown method or head, or a method that uses groups and has none.
    """
    parsed, row = parse(method), lookup("head", head, HEADS)
    if parsed.objective.grouped and groups is None:
        raise UserError(f"method {method!r} needs an attribute whose groups it uses")
    return TrainSpec(
        config, row, parsed, groups.count if groups and parsed.objective.grouped else 0
    )


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
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> Sweep:
    """Trains every run that is not on disk yet.

    A run's result depends on its seed and hyper-parameters, not on who it is swept with: bit for
    bit where the chunks have the same width, and to about 1e-6 where not (a matmul of another width
    may sum in another order).

    Args:
      features: embeddings and labels of the splits `train`, `validation` and `test`.
      runs: what to train.
      config: how.
      folder: where chunks are kept, below a folder named by the hash of all that a run's result
        depends on.
      method: a key of `objectives.METHODS`, in its wrappers: `group_dro+swad`.
      head: a key of `heads.HEADS`.
      groups: groups of the training samples, for methods that use them.
      seed: seed of the experiment, from which every run's streams are folded.
      memory_bytes: budget per device.
      shard: (index, count) of the process: it trains the chunks index, index + count, …
      progress: whether to show a bar with runs/s and the time left.

    Returns:
      A `Sweep`.

    Raises:
      UserError: a chunk does not fit into memory, or the method and what it is given do not go
        together.
    """
    spec = make_program(config, method, head, groups)
    cut = plan_of(features, runs, spec, memory_bytes)
    identity = identity_of(features, spec, groups, seed)
    return fill(
        folder,
        identity,
        runs,
        cut,
        lambda: make_engine(features, spec, groups, seed),
        what=f"training {method}",
        shard=shard,
        progress=progress,
    )


def identity_of(
    features: Features, spec: TrainSpec, groups: Groups | None, seed: int
) -> dict[str, Any]:
    """All that the result of a run depends on, besides its seed and hyper-parameters."""
    return {
        "fairjax": __version__,
        "features": features.key,
        "config": dataclasses.asdict(spec.config),
        "method": spec.method.name,
        **plugins.code("objective", spec.method.objective.name),
        "head": spec.head.name,
        "groups": hash_arrays({"codes": groups.codes}) if groups and spec.groups else "",
        "seed": seed,
    }


def fill(
    folder: Path,
    identity: dict[str, Any],
    runs: Sequence[Run],
    cut: Plan,
    make: Callable[[], ChunkTrainer],
    *,
    what: str,
    shard: tuple[int, int],
    progress: bool,
    unit: str = "run",
    per_run: int = 1,
) -> Sweep:
    """Trains what a folder lacks, chunk by chunk, so that a killed sweep loses one chunk at most.

    Args:
      folder: in which that of the identity lies.
      identity: all that a run's result depends on.
      runs: what to train.
      cut: how.
      make: makes the trainer, if there is something to train.
      what: names the work on the bar.
      shard: (index, count) of the process.
      progress: whether to show a bar.
      unit: what the bar counts.
      per_run: how many of them a run is.
    """
    folder = folder / hash_json(identity)[:12]
    write_json(folder / "sweep.json", identity)
    done = {name for chunk in store.read(folder) for name in chunk.names}
    missing = [run for run in runs if run.name not in done]
    mine = cut.cut(missing)[shard[0] :: shard[1]]
    distributed.barrier("to train")  # no one adds a chunk before all have seen what is missing
    try:
        if mine:
            trainer = make()
            with bar(what, unit, sum(map(len, mine)) * per_run, show=progress) as shown:
                for part in mine:
                    arrays = trainer.train(
                        part, cut.width, lambda runs: advance(shown, runs * per_run)
                    )
                    store.write(store.chunk_of(folder, part), arrays)
    finally:
        # Also if this process failed: the others do not wait for ever.
        distributed.barrier("trained")
    return store.gather(folder, runs)


def plan_of(features: Features, runs: Sequence[Run], spec: TrainSpec, memory_bytes: float) -> Plan:
    """How runs on these features are cut."""
    sizes = {split: len(y) for split, y in features.y.items()}
    return plan(runs, spec, sizes, features.x["train"].shape[1], memory_bytes)


def make_engine(features: Features, spec: TrainSpec, groups: Groups | None, seed: int) -> Engine:
    """The engine of a program, with features as its head wants them."""
    features = prepared(features, spec)
    return Engine(
        spec, probe_data(features, spec, groups), features.x["test"], jax.random.key(seed)
    )


def prepared(features: Features, spec: TrainSpec) -> Features:
    """Features of length 1 for heads that are made for those, else z-scored where the settings say
    so.
    """
    if spec.head.unit:
        return features.unit()
    return features.standardized() if spec.config.standardize else features


def probe_data(features: Features, spec: TrainSpec, groups: Groups | None) -> ProbeData:
    """What the program takes."""
    y = {split: np.asarray(labels, np.float32) for split, labels in features.y.items()}
    n = len(y["train"])
    return ProbeData(
        jnp.asarray(features.x["train"]),
        jnp.asarray(y["train"]),
        jnp.asarray(sample_weights(y["train"], spec.config.class_weight)),
        jnp.asarray(np.unique(features.patients, return_inverse=True)[1], jnp.int32),
        jnp.asarray(
            groups.membership() if spec.groups and groups else np.zeros((n, 0), np.float32)
        ),
        jnp.asarray(features.x["validation"]),
        jnp.asarray(y["validation"]),
        {name: jnp.asarray(value) for name, value in features.constants.items()}
        if spec.head.prototypes
        else {},
    )
