"""LoRA: adapters of many runs, and a head on top of each, trained as one program on one frozen
tower.

The frozen weights are there once; adapters are stacked along a first axis for the run, and each
image is decoded once for all runs of a chunk. A step sees its whole batch, so that every method of
`objectives` can be used; where a batch does not fit into memory, the tower sees it in parts, whose
intermediate results are computed again for the gradient.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import Encoder
from fairjax.models import lora
from fairjax.training import probe
from fairjax.training.engine import Trainer, state_of
from fairjax.training.lora.images import Images, padded
from fairjax.training.lora.tower import Layout, LoRA, Tower, lay_out
from fairjax.training.objectives.losses import log_loss
from fairjax.training.program import ProbeConfig, ProbeData, RunHyperparams, TrainSpec
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features, Groups, fill, identity_of, make_program, probe_data
from fairjax.utils.errors import UserError
from fairjax.utils.random import stream

HELD_SHARE = 0.5  # of the memory, that preprocessed images may take on the host
DEFAULT = LoRA()


class TowerTrainer(Trainer):
    """Trains adapters and heads, with the frozen tower on the local devices.

    Args:
      tower: what takes the adapters.
      spec: what is trained by which method; its head begins with the adapters.
      data: labels, weights, groups.
      images: reads them.
      rows: split name → rows of the dataset.
      layout: how a chunk lies on the devices.
      key: key of the experiment.
    """

    def __init__(
        self,
        tower: Tower,
        spec: TrainSpec,
        data: ProbeData,
        images: Images,
        rows: Mapping[str, Int[np.ndarray, " n"]],
        layout: Layout,
        key: Array,
    ):
        self.tower, self.spec, self.images = tower, spec, images
        self.rows, self.layout = rows, layout
        self._made: dict[TrainSpec, Functions] = {}
        mesh = Mesh(np.asarray(jax.local_devices()), (layout.axis,))
        self.runs, self._split, self._whole = layout.placed(mesh)
        self.data, self.key, self.frozen = jax.device_put((data, key, tower.frozen), self._whole)

    def scores(self, spec: TrainSpec, head: dict[str, Array]) -> dict[str, Array]:
        """Scores of the images."""
        return {
            f"{split}_scores": jax.nn.sigmoid(self._logits(spec, head, split))
            for split in ("validation", "test")
        }

    def errors(self, spec: TrainSpec, head: dict[str, Array]) -> Array:
        """Errors on the images."""
        return ((self._logits(spec, head, "train") > 0) != (self.data.y > 0.5)).astype(jnp.uint8)

    def fit(
        self,
        spec: TrainSpec,
        hyperparams: RunHyperparams,
        errors: Array,
        advance: Callable[[float], None],
    ) -> dict[str, Any]:
        """Trains by steps that are a program each, as batches come."""
        config, n, m = spec.config, len(self.data.y), len(self.data.y_validation)
        functions = self._functions(spec)
        state = functions.init(self.key, self.data, hyperparams, errors)
        for epoch in range(config.epochs):
            index, present = map(
                np.asarray, probe.order(self.key, config, hyperparams, n, jnp.int32(epoch))
            )
            active, weights_rn = functions.begin(
                self.key, self.data, hyperparams, state, jnp.int32(epoch)
            )
            step_state = probe.step_state_of(state)
            for batch, images in enumerate(self._batches(self.rows["train"][index.reshape(-1)])):
                sample = (
                    self.data,
                    hyperparams,
                    active,
                    weights_rn,
                    step_state,
                    images,
                    index[batch],
                    present[batch],
                )
                step_state = functions.step(self.frozen, *sample)
                jax.block_until_ready(step_state.step)  # or batches would queue up on the devices
                advance(float(present[batch].sum()) / (n + m))
            loss = self._validation_loss(spec, step_state.params["head"])
            # in place of what was donated to the first step
            state = state._replace(**step_state._asdict())
            state = functions.end_epoch(state, step_state, loss, jnp.int32(epoch))
            advance(m / (n + m))
            if config.patience and int(state.stale.min()) >= config.patience:
                break
        advance(config.epochs - 1 - epoch)
        return probe.finalize(spec, state, lambda head: self._validation_loss(spec, head))

    def _validation_loss(self, spec: TrainSpec, head: dict[str, Array]) -> Float[Array, " r"]:
        return log_loss(self._logits(spec, head, "validation"), self.data.y_validation).mean(-1)

    def _logits(self, spec: TrainSpec, head: dict[str, Array], split: str) -> Float[Array, "r n"]:
        rows, logits = self.rows[split], self._functions(spec).logits
        batches = self._batches(padded(rows, self.images.batch_size))
        parts = [jax.block_until_ready(logits(self.frozen, head, images)) for images in batches]
        return jnp.concatenate(parts, 1)[:, : len(rows)]

    def _batches(self, rows: Int[np.ndarray, " n"]) -> Iterator[Float[Array, "k m h w 3"]]:
        for pixels in self.images(rows):
            yield jax.device_put(
                pixels.reshape(self.layout.parts, -1, *pixels.shape[1:]), self._split
            )

    def _functions(self, spec: TrainSpec) -> Functions:
        if spec not in self._made:
            state = state_of(self.runs, self._whole)
            self._made[spec] = functions_of(self.tower, spec, len(self.data.y), state, self.runs)
        return self._made[spec]


class Functions(NamedTuple):
    """The jitted functions of a program."""

    init: Callable[..., probe.State]
    begin: Callable[..., tuple[Array, Array | None]]
    step: Callable[..., probe.StepState]
    end_epoch: Callable[..., probe.State]
    logits: Callable[..., Array]


def functions_of(
    tower: Tower, spec: TrainSpec, n: int, state: Any, runs: NamedSharding
) -> Functions:
    """Compiles what trains a program.

    Args:
      tower: what takes the adapters.
      spec: what is trained.
      n: training samples.
      state: where the arrays of a state lie.
      runs: where arrays lie whose first axis is the run.
    """

    def init(key, data, hyperparams, errors):
        return probe.init(key, spec, data, hyperparams, errors)

    def begin(key, data, hyperparams, state, epoch):
        weights = probe.run_weights(stream(key, "resample", epoch), spec, data, hyperparams, state)
        return probe.active_runs(spec.config, state), weights

    def forward(frozen, parameters, images):
        x = tower.encode_all(frozen, parameters, images)
        return *spec.head.forward(parameters, x), x

    def step(frozen, data, hyperparams, active, weights_rn, step_state, images, index, present):
        sample = probe.make_batch(data, weights_rn, images, index, present)
        return probe.step(
            spec, hyperparams, active, n, functools.partial(forward, frozen), step_state, sample
        )

    def logits(frozen, parameters, images):
        return forward(frozen, parameters, images)[0].mean(1)

    return Functions(
        jax.jit(init, out_shardings=state),
        jax.jit(begin, out_shardings=runs),
        jax.jit(step, out_shardings=probe.step_state_of(state), donate_argnames="step_state"),
        jax.jit(functools.partial(probe.end_epoch, spec), out_shardings=state),
        jax.jit(logits, out_shardings=runs),
    )


def check(config: ProbeConfig, model: str, settings: LoRA) -> LoRA:
    """Returns the settings with the layers that are adapted.

    Raises:
      UserError: the model has no layers for LoRA, or runs are to see images in orders of their own.
    """
    if config.order != "shared":
        raise UserError("LoRA reads each image once for all runs: it needs training.order='shared'")
    return dataclasses.replace(settings, targets=settings.targets or lora.targets_of(model))


def sweep_lora(
    dataset: Dataset,
    rows: Mapping[str, Int[np.ndarray, " n"]],
    encoder: Encoder,
    features: Features,
    runs: Sequence[Run],
    config: ProbeConfig,
    folder: Path,
    *,
    model: str = "",
    settings: LoRA = DEFAULT,
    method: str = "erm",
    head: str = "linear",
    groups: Groups | None = None,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    shard: tuple[int, int] = (0, 1),
    threads: int = 4,
    processes: int = 0,
    progress: bool = True,
) -> Sweep:
    """Trains adapters and heads of every run that is not on disk yet.

    Args:
      dataset: the images.
      rows: split name → rows of the dataset, in the order of `features`.
      encoder: the frozen tower, whose `probe_features` are adapted.
      features: what the frozen tower makes of the images, with their labels, by split.
      runs: what to train.
      config: how; samples are in one order for all runs.
      folder: where chunks are kept, as `sweep.sweep` keeps them, with the adapters' arrays next to
        the head's.
      model: the zoo's name of the tower, for its targets.
      settings: settings of the adapters.
      method: as in `sweep.sweep`.
      head: as in `sweep.sweep`.
      groups: groups of the training samples, for methods that use them.
      seed: seed of the experiment.
      memory_bytes: budget per device; on the host, images may take half as much besides, to be read
        only once.
      shard: (index, count) of the process.
      threads: number of threads that read images.
      processes: number of processes that read images, 0 for none besides this.
      progress: whether to show a bar with images/s, each counted once for every run.

    Returns:
      A `Sweep`.

    Raises:
      UserError: the tower has no layers for LoRA, one run does not fit into memory, an image cannot
        be read, or settings do not go together.
    """
    settings = check(config, model, settings)
    spec = make_program(config, method, head, groups)
    if spec.head.prototypes:
        raise UserError(
            f"LoRA trains a head that begins at random, unlike {head!r}: take linear or mlp"
        )
    scaling = features.scaling()
    if not config.standardize:
        scaling = np.zeros_like(scaling[0]), np.ones_like(scaling[1])
    module: Any = encoder.module
    tower = Tower(module, settings, scaling)
    spec = dataclasses.replace(spec, head=tower.head(spec.head))
    sizes = {split: len(of) for split, of in rows.items()}
    cut, layout = lay_out(runs, tower, spec, sizes, encoder.image_shape, memory_bytes)
    data = probe_data(features, spec, groups)
    data = data._replace(x=data.x[:0], x_validation=data.x_validation[:0])

    def make() -> TowerTrainer:
        held = HELD_SHARE * memory_bytes
        images = Images(
            dataset,
            encoder,
            config.batch_size,
            memory_bytes=held,
            threads=threads,
            processes=processes,
        )
        return TowerTrainer(tower, spec, data, images, rows, layout, jax.random.key(seed))

    added = {"rank": settings.rank, "alpha": settings.alpha, "targets": settings.targets}
    return fill(
        folder,
        identity_of(features, spec, groups, seed) | {"lora": added},
        runs,
        cut,
        make,
        what=f"training LoRA, {method}",
        shard=shard,
        progress=progress,
        unit="image",
        per_run=config.epochs * (len(rows["train"]) + len(rows["validation"])),
    )
