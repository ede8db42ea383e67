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
from fairjax.training.program import ProbeConfig, ProbeData, Program, Rates
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
      program: what is trained by which method; its head begins with the adapters.
      data: labels, weights, groups.
      images: reads them.
      rows: split name → rows of the dataset.
      place: how a chunk lies on the devices.
      key: of the experiment.
    """

    def __init__(
        self,
        tower: Tower,
        program: Program,
        data: ProbeData,
        images: Images,
        rows: Mapping[str, Int[np.ndarray, " n"]],
        place: Layout,
        key: Array,
    ):
        self.tower, self.program, self.images, self.rows, self.place = (
            tower,
            program,
            images,
            rows,
            place,
        )
        self._made: dict[Program, Functions] = {}
        mesh = Mesh(np.asarray(jax.local_devices()), (place.axis,))
        self.runs, self._split, self._whole = place.placed(mesh)
        self.data, self.key, self.frozen = jax.device_put((data, key, tower.frozen), self._whole)

    def scores(self, program: Program, head: dict[str, Array]) -> dict[str, Array]:
        """Scores of the images."""
        return {
            f"{side}_scores": jax.nn.sigmoid(self._logits(program, head, side))
            for side in ("validation", "test")
        }

    def errors(self, program: Program, head: dict[str, Array]) -> Array:
        """Errors on the images."""
        return ((self._logits(program, head, "train") > 0) != (self.data.y > 0.5)).astype(jnp.uint8)

    def fit(
        self, program: Program, rates: Rates, errors: Array, advance: Callable[[float], None]
    ) -> dict[str, Any]:
        """Trains by steps that are a program each, as batches come."""
        config, n, m = program.config, len(self.data.y), len(self.data.y_validation)
        functions = self._functions(program)
        state = functions.init(self.key, self.data, rates, errors)
        for number in range(config.epochs):
            index, present = map(
                np.asarray, probe.order(self.key, config, rates, n, jnp.int32(number))
            )
            moving, multiplied = functions.begin(
                self.key, self.data, rates, state, jnp.int32(number)
            )
            passing = probe.passing_of(state)
            for batch, images in enumerate(self._batches(self.rows["train"][index.reshape(-1)])):
                sample = (
                    self.data,
                    rates,
                    moving,
                    multiplied,
                    passing,
                    images,
                    index[batch],
                    present[batch],
                )
                passing = functions.step(self.frozen, *sample)
                jax.block_until_ready(passing.step)  # or batches would queue up on the devices
                advance(float(present[batch].sum()) / (n + m))
            loss = self._validation_loss(program, passing.params["head"])
            state = state._replace(
                **passing._asdict()
            )  # in place of what was donated to the first step
            state = functions.close(state, passing, loss, jnp.int32(number))
            advance(m / (n + m))
            if config.patience and int(state.stale.min()) >= config.patience:
                break
        advance(config.epochs - 1 - number)
        return probe.finish(program, state, lambda head: self._validation_loss(program, head))

    def _validation_loss(self, program: Program, head: dict[str, Array]) -> Float[Array, " r"]:
        return log_loss(self._logits(program, head, "validation"), self.data.y_validation).mean(-1)

    def _logits(self, program: Program, head: dict[str, Array], side: str) -> Float[Array, "r n"]:
        rows, logits = self.rows[side], self._functions(program).logits
        batches = self._batches(padded(rows, self.images.batch_size))
        parts = [jax.block_until_ready(logits(self.frozen, head, images)) for images in batches]
        return jnp.concatenate(parts, 1)[:, : len(rows)]

    def _batches(self, rows: Int[np.ndarray, " n"]) -> Iterator[Float[Array, "k m h w 3"]]:
        for pixels in self.images(rows):
            yield jax.device_put(
                pixels.reshape(self.place.parts, -1, *pixels.shape[1:]), self._split
            )

    def _functions(self, program: Program) -> Functions:
        if program not in self._made:
            state = state_of(self.runs, self._whole)
            self._made[program] = functions_of(
                self.tower, program, len(self.data.y), state, self.runs
            )
        return self._made[program]


class Functions(NamedTuple):
    """The jitted functions of a program."""

    init: Callable[..., probe.State]
    begin: Callable[..., tuple[Array, Array | None]]
    step: Callable[..., probe.Passing]
    close: Callable[..., probe.State]
    logits: Callable[..., Array]


def functions_of(
    tower: Tower, program: Program, n: int, state: Any, runs: NamedSharding
) -> Functions:
    """Compiles what trains a program.

    Args:
      tower: what takes the adapters.
      program: what is trained.
      n: training samples.
      state: where the arrays of a state lie.
      runs: where arrays lie whose first axis is the run.
    """

    def init(key, data, rates, errors):
        return probe.init(key, program, data, rates, errors)

    def begin(key, data, rates, state, number):
        weights = probe.multiples(stream(key, "resample", number), program, data, rates, state)
        return probe.active(program.config, state), weights

    def forward(frozen, parameters, images):
        x = tower.encode_all(frozen, parameters, images)
        return *program.head.forward(parameters, x), x

    def step(frozen, data, rates, moving, multiplied, passing, images, index, present):
        sample = probe.take(data, multiplied, images, index, present)
        return probe.step(
            program, rates, moving, n, functools.partial(forward, frozen), passing, sample
        )

    def logits(frozen, parameters, images):
        return forward(frozen, parameters, images)[0].mean(1)

    return Functions(
        jax.jit(init, out_shardings=state),
        jax.jit(begin, out_shardings=runs),
        jax.jit(step, out_shardings=probe.passing_of(state), donate_argnames="passing"),
        jax.jit(functools.partial(probe.close, program), out_shardings=state),
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
    share: tuple[int, int] = (0, 1),
    threads: int = 4,
    processes: int = 0,
    show_progress: bool = True,
) -> Sweep:
    """Trains adapters and heads of every run that is not on disk yet.

    Args:
      dataset: the images.
      rows: split name → rows of the dataset, in the order of `features`.
      encoder: the frozen tower, whose `probe_features` are adapted.
      features: what the frozen tower makes of the images, with their labels, by split.
      runs: what to train.
      config: how; samples are in one order for all runs.
      folder: where chunks are kept, as `sweep.sweep` keeps them, with the adapters' arrays beside
        the head's.
      model: the zoo's name of the tower, for its targets.
      settings: of the adapters.
      method, head, groups, seed, share: as in `sweep.sweep`.
      memory_bytes: budget per device; on the host, images may take half as much besides, to be read
        only once.
      threads, processes: as in `fairjax.embeddings.embed`.
      show_progress: whether to show a bar with images/s, each counted once for every run.

    Returns:
      A `Sweep`.

    Raises:
      UserError: the tower has no layers for LoRA, one run does not fit into memory, an image cannot
        be read, or settings do not go together.
    """
    settings = check(config, model, settings)
    program = make_program(config, method, head, groups)
    if program.head.prototypes:
        raise UserError(
            f"LoRA trains a head that begins at random, unlike {head!r}: take linear or mlp"
        )
    scaling = features.scaling()
    if not config.standardize:
        scaling = np.zeros_like(scaling[0]), np.ones_like(scaling[1])
    tower = Tower(encoder.module, settings, scaling)
    program = dataclasses.replace(program, head=tower.head(program.head))
    sizes = {side: len(of) for side, of in rows.items()}
    cut, place = lay_out(runs, tower, program, sizes, encoder.image_shape, memory_bytes)
    data = probe_data(features, program, groups)
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
        return TowerTrainer(tower, program, data, images, rows, place, jax.random.key(seed))

    added = {"rank": settings.rank, "alpha": settings.alpha, "targets": settings.targets}
    return fill(
        folder,
        identity_of(features, program, groups, seed) | {"lora": added},
        runs,
        cut,
        make,
        what=f"training LoRA, {method}",
        share=share,
        show_progress=show_progress,
        unit="image",
        per_run=config.epochs * (len(rows["train"]) + len(rows["validation"])),
    )
