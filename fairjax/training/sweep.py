"""The sweep engine: runs in chunks of one shape, over all local devices; a chunk is on disk before the next begins."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tqdm import tqdm

from fairjax import __version__, progress
from fairjax.datasets.volumes import pool
from fairjax.errors import UserError
from fairjax.io import atomic_write, hash_arrays, hash_json, read_json, write_json
from fairjax.training import probe
from fairjax.training.probe import ProbeConfig, ProbeData
from fairjax.training.runs import Run

FLOAT_BYTES = 4
HEAD_COPIES = 8  # parameters, two moments, best, gradient, direction and the two updated: what a run holds of its head
LARGEST_CHUNK = 512  # beyond this a chunk's optimizer state leaves the caches and runs/s stop growing
RUN_MULTIPLE = 16  # chunk widths that matmul kernels tile without a remainder


@dataclasses.dataclass(frozen=True)
class Features:
    """Embeddings and labels of the three splits, on the host.

    Attributes:
      x, y: split name → (n, d) float32 and (n,) labels in {0, 1}.
      patients: (n,) the patient of each training sample, as codes or names.
      key: what the features, labels, patients and splits are a function of.
    """

    x: dict[str, Float[np.ndarray, "n d"]]
    y: dict[str, np.ndarray]
    patients: Shaped[np.ndarray, " n"]
    key: dict[str, Any]

    def standardized(self) -> Features:
        """Z-scores by the training split's mean and standard deviation (a constant feature becomes 0)."""
        mean, deviation = self.x["train"].mean(0), self.x["train"].std(0)
        scale = np.where(deviation > 1e-8, 1 / np.maximum(deviation, 1e-8), 0).astype(np.float32)
        return dataclasses.replace(self, x={split: (x - mean) * scale for split, x in self.x.items()})


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a sweep is cut: `chunks` programs' worth of `width` runs each, the last padded."""

    runs: Sequence[Run]
    width: int
    bytes_per_chunk: int
    flops: float

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self.runs) // self.width)

    def chunk(self, index: int) -> list[Run]:
        """The runs of one chunk, without padding."""
        return list(self.runs[index * self.width : (index + 1) * self.width])


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trained heads on disk; chunks are read one at a time.

    Attributes:
      plan: which run stands in which chunk.
      folder: where `chunk-00000.safetensors` … lie, each with `kernel` (r, d), `bias` (r,), `validation_scores` (r, m),
        `test_scores` (r, n), `validation_loss` (r,) and `best_epoch` (r,), in the order of the plan.
      pool: how scores of slices become those of volumes when they are read (`fairjax.datasets.volumes.pool`).
      volumes: split name → (n,) the volume of each slice; empty where scores are of images and stay as they are.
    """

    plan: Plan
    folder: Path
    pool: str = ""
    volumes: Mapping[str, Int[np.ndarray, " n"]] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[list[Run], dict[str, np.ndarray]]]:
        for index in range(self.plan.chunks):
            yield self.plan.chunk(index), self._chunk(index)

    def test_scores(self, run: str) -> Float[np.ndarray, " n"]:
        """Scores (n,) of one run, by name, on the test split."""
        chunk, row = divmod([other.name for other in self.plan.runs].index(run), self.plan.width)
        return self._chunk(chunk)["test_scores"][row]

    def _chunk(self, index: int) -> dict[str, np.ndarray]:
        arrays = load_file(_path(self.folder, index))
        pooled = {f"{name}_scores": volume for name, volume in self.volumes.items()}
        return arrays | {name: pool(arrays[name], volume, self.pool) for name, volume in pooled.items()}


def plan(runs: Sequence[Run], config: ProbeConfig, sizes: dict[str, int], d: int, memory_bytes: float) -> Plan:
    """Cuts a sweep so that a chunk's state, batch and scores fit into `memory_bytes` on each device.

    Args:
      runs: what to train.
      config: how.
      sizes: samples per split.
      d: feature width.
      memory_bytes: budget of one device, the embeddings included.

    Raises:
      UserError: not even the smallest chunk fits.
    """
    devices = jax.local_device_count()
    fixed = sum(sizes.values()) * (d + 2) * FLOAT_BYTES
    per_run = (HEAD_COPIES * (d + 1) + 3 * (sizes["validation"] + sizes["test"]) + 4 * config.batch_size) * FLOAT_BYTES
    if config.order == "per_run":
        per_run += (config.batch_size * d + sizes["train"]) * FLOAT_BYTES
    if config.resample != "none":
        per_run += sizes["train"]
    fit = int((memory_bytes - fixed) // per_run) // RUN_MULTIPLE * RUN_MULTIPLE
    if fit < RUN_MULTIPLE:
        raise UserError(
            f"the embeddings take {fixed / 2**30:.1f} GiB and {RUN_MULTIPLE} runs {RUN_MULTIPLE * per_run / 2**30:.1f} "
            f"GiB: more than --config.memory_gib={memory_bytes / 2**30:g} allows"
        )
    needed = math.ceil(len(runs) / devices / RUN_MULTIPLE) * RUN_MULTIPLE
    local = min(fit, LARGEST_CHUNK, needed)
    flops = 4.0 * sizes["train"] * d * config.epochs * len(runs) + 2.0 * sizes["validation"] * d * config.epochs * len(
        runs
    )
    return Plan(runs, local * devices, fixed + local * per_run, flops)


def sweep(
    features: Features,
    runs: Sequence[Run],
    config: ProbeConfig,
    folder: Path,
    *,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    show_progress: bool = True,
) -> Sweep:
    """Trains every run; a chunk that is on disk is not trained again.

    A run's result depends on its seed and hyper-parameters, not on who it is swept with: bit for bit where the chunks
    have the same width, and to about 1e-6 where not (a matmul of another width may sum in another order).

    Args:
      features: embeddings and labels of the splits `train`, `validation` and `test`.
      runs: what to train.
      config: how.
      folder: where chunks are kept, below a folder named by the hash of all that they depend on.
      seed: of the experiment, from which every run's streams are folded.
      memory_bytes: budget per device.
      show_progress: whether to show a bar with runs/s and the time left.

    Returns:
      A `Sweep`.

    Raises:
      UserError: a chunk does not fit into memory.
    """
    sizes = {split: len(y) for split, y in features.y.items()}
    cut = plan(runs, config, sizes, features.x["train"].shape[1], memory_bytes)
    identity = {
        "fairjax": __version__,
        "features": features.key,
        "config": dataclasses.asdict(config),
        "runs": [run.name for run in runs],
        "width": cut.width,
        "devices": jax.local_device_count(),
        "seed": seed,
    }
    folder = folder / hash_json(identity)[:12]
    write_json(folder / "sweep.json", identity)
    missing = [index for index in range(cut.chunks) if not _complete(folder, index)]
    if missing:
        engine = Engine(features.standardized() if config.standardize else features, config, jax.random.key(seed))
        done = len(runs) - sum(len(cut.chunk(index)) for index in missing)
        with progress.bar("training", "run", len(runs), done=done, show=show_progress) as bar:
            for index in missing:
                arrays = engine.train(cut.chunk(index), cut.width, bar)
                path = _path(folder, index)
                atomic_write(path, functools.partial(_write, save(arrays)))
                write_json(path.with_suffix(".json"), {"sha256": hash_arrays(arrays)})
    return Sweep(cut, folder)


class Engine:
    """The compiled programs of one sweep, with its data on the devices."""

    def __init__(self, features: Features, config: ProbeConfig, key: Array):
        self.config = config
        self.mesh = Mesh(np.asarray(jax.local_devices()), ("runs",))
        whole = NamedSharding(self.mesh, PartitionSpec())
        y = {split: np.asarray(labels, np.float32) for split, labels in features.y.items()}
        data = ProbeData(
            jnp.asarray(features.x["train"]),
            jnp.asarray(y["train"]),
            jnp.asarray(probe.sample_weights(y["train"], config.class_weight)),
            jnp.asarray(np.unique(features.patients, return_inverse=True)[1], jnp.int32),
            jnp.asarray(features.x["validation"]),
            jnp.asarray(y["validation"]),
        )
        self.data = jax.device_put(data, whole)
        self.x_test = jax.device_put(features.x["test"], whole)
        self.key = jax.device_put(key, whole)

        shard = functools.partial(jax.shard_map, mesh=self.mesh, check_vma=False)
        runs, all_ = PartitionSpec("runs"), PartitionSpec()
        state = _state_specs(self.key, config, self.data)
        init = shard(
            lambda key, data, rates: probe.init(key, config, data, rates),
            in_specs=(all_, all_, runs),
            out_specs=state,
        )
        epoch = shard(
            lambda key, data, rates, state, number: probe.epoch(key, config, data, rates, state, number),
            in_specs=(all_, all_, runs, state, all_),
            out_specs=state,
        )
        scores = shard(
            lambda params, x: jax.nn.sigmoid(probe.logits(params, x)),
            in_specs=(state.params, all_),
            out_specs=runs,
        )
        held = jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), state)
        self.init = jax.jit(init, out_shardings=held)
        self.epoch = jax.jit(epoch, donate_argnums=3, out_shardings=held)
        self.scores = jax.jit(scores)

    def train(self, runs: list[Run], width: int, bar: tqdm) -> dict[str, np.ndarray]:
        """Trains one chunk, padded to `width` by repeating its last run."""
        padded = [*runs, *[runs[-1]] * (width - len(runs))]
        rates = jax.device_put(probe.rates(padded), NamedSharding(self.mesh, PartitionSpec("runs")))
        state = self.init(self.key, self.data, rates)
        before = 0.0
        for number in range(self.config.epochs):
            state = self.epoch(self.key, self.data, rates, state, jnp.int32(number))
            if self.config.patience and int(state.stale.min()) >= self.config.patience:
                break
            after = len(runs) * (number + 1) / self.config.epochs
            bar.update(after - before)
            before = after
            jax.block_until_ready(state.step)  # the bar shows what is done, not what is queued
        bar.update(len(runs) - before)
        arrays = {
            "kernel": state.best["kernel"],
            "bias": state.best["bias"],
            "validation_scores": self.scores(state.best, self.data.x_validation),
            "test_scores": self.scores(state.best, self.x_test),
            "validation_loss": state.best_loss,
            "best_epoch": state.best_epoch,
        }
        return {name: np.ascontiguousarray(np.asarray(array)[: len(runs)]) for name, array in arrays.items()}


def _state_specs(key: Array, config: ProbeConfig, data: ProbeData) -> probe.State:
    """Where each array of the state lies: its first axis over `runs`; scalars everywhere."""
    shapes = jax.eval_shape(lambda key, data: probe.init(key, config, data, probe.rates([Run(0, 0.1, 0.0)])), key, data)
    return jax.tree.map(lambda a: PartitionSpec("runs") if a.ndim else PartitionSpec(), shapes)


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def _path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:05d}.safetensors"


def _complete(folder: Path, index: int) -> bool:
    """Whether a chunk is on disk and is what was written; a damaged one is trained again."""
    path = _path(folder, index)
    if not (path.exists() and path.with_suffix(".json").exists()):
        return False
    try:
        return hash_arrays(load_file(path)) == read_json(path.with_suffix(".json"))["sha256"]
    except SafetensorError:
        return False
