"""The compiled programs of a sweep on the devices, and how runs are cut to fit them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from fairjax.training import averaging, probe
from fairjax.training.objectives import parse
from fairjax.training.optimizer import FLOAT_BYTES, RUN_COPIES
from fairjax.training.program import (
    ProbeConfig,
    ProbeData,
    RunHyperparams,
    State,
    TrainSpec,
    stack_hyperparams,
)
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError

# runs: beyond this a chunk's optimizer state leaves the caches and runs/s stop growing
LARGEST_CHUNK = 512
LARGEST_WORKSPACE = 64 * 2**20  # bytes of a step's largest arrays, for the same reason
RUN_MULTIPLE = 16  # chunk widths that matmul kernels tile without a remainder
FIRST_STAGE = 0.25  # fraction of the epochs that the first of two models is trained for
RUNS, WHOLE = PartitionSpec("runs"), PartitionSpec()


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

    def cut(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Runs in chunks of the plan's width."""
        return [list(runs[start : start + self.width]) for start in range(0, len(runs), self.width)]


def plan(
    runs: Sequence[Run], spec: TrainSpec, sizes: Mapping[str, int], d: int, memory_bytes: float
) -> Plan:
    """Cuts a sweep so that a chunk's state, batch and scores fit into `memory_bytes` on each
    device.

    Args:
      runs: what to train.
      spec: how.
      sizes: samples per split.
      d: feature width.
      memory_bytes: budget of one device, the embeddings included.

    Raises:
      UserError: not even the smallest chunk fits.
    """
    config, objective = spec.config, spec.method.objective
    devices, batch = jax.local_device_count(), config.batch_size
    head = jax.eval_shape(lambda: spec.head.init(jax.random.key(0), spec.outputs, d))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(head))
    features = spec.head.features(spec.outputs, d)
    fixed = sum(sizes.values()) * (d + 2 + spec.groups) * FLOAT_BYTES
    workspace = objective.workspace(batch) + 4 * batch * (features + spec.outputs)
    held = (RUN_COPIES + averaging.COPIES[spec.method.average]) * parameters
    per_run = held + workspace + (3 * features) * (sizes["validation"] + sizes["test"])
    if config.order == "per_run":
        per_run += batch * d + sizes["train"]
    if spec.weighted:
        per_run += 3 * sizes["train"]
    if objective.two_stage:
        per_run += 2 * features * sizes["train"]
    per_run *= FLOAT_BYTES
    fit = int((memory_bytes - fixed) // per_run) // RUN_MULTIPLE * RUN_MULTIPLE
    if fit < RUN_MULTIPLE:
        raise UserError(
            f"the embeddings take {fixed / 2**30:.1f} GiB and {RUN_MULTIPLE} runs "
            f"{RUN_MULTIPLE * per_run / 2**30:.1f} GiB: more than "
            f"--config.memory_gib={memory_bytes / 2**30:g} allows"
        )
    needed = math.ceil(len(runs) / devices / RUN_MULTIPLE) * RUN_MULTIPLE
    cached = max(LARGEST_WORKSPACE // (FLOAT_BYTES * workspace) // RUN_MULTIPLE, 1) * RUN_MULTIPLE
    local = min(fit, LARGEST_CHUNK, cached, needed)
    passes = (
        config.epochs
        * (2 if spec.method.sharpness else 1)
        * (1 + FIRST_STAGE * objective.two_stage)
    )
    others = sum(leaf.size for leaf in jax.tree.leaves(_objective_parameters(spec, d)))
    per_epoch = (
        4.0 * sizes["train"] * (parameters + others) + 2.0 * sizes["validation"] * parameters
    )
    flops = per_epoch * passes * len(runs)
    return Plan(runs, local * devices, int(fixed + local * per_run), flops)


def _objective_parameters(spec: TrainSpec, d: int) -> Any:
    sizes = probe.sizes(spec, d)
    return jax.eval_shape(lambda: spec.method.objective.parameters(jax.random.key(0), sizes))


class Compiled(NamedTuple):
    """The jitted functions of a program, sharded over the mesh axis `runs`."""

    init: Callable[..., State]
    epoch: Callable[..., State]
    finalize: Callable[..., dict[str, Any]]
    scores: Callable[..., Array]
    errors: Callable[..., Array]


def state_of(runs: Any, whole: Any) -> State:
    """A state whose arrays with a first axis for the run are `runs`, and the others `whole`."""
    adam: Any = optax.ScaleByAdamState(whole, runs, runs)
    fields: Any = dict.fromkeys(State._fields, runs) | {"optimizer": adam, "step": whole}
    return State(**fields)


@functools.cache
def compiled(spec: TrainSpec, mesh: Mesh) -> Compiled:
    """Functions of (key, data, hyperparams, …), which equal specifications share."""
    shard = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
    state = state_of(RUNS, WHOLE)

    def init(key, data, hyperparams, errors):
        return probe.init(key, spec, data, hyperparams, errors)

    def epoch(key, data, hyperparams, state, epoch):
        return probe.run_epoch(key, spec, data, hyperparams, state, epoch)

    def finalize(data, state):
        return probe.finalize(spec, state, lambda head: probe.validation_loss(spec, data, head))

    def scores(head, constants, x):
        return jax.nn.sigmoid(spec.head.logits(head | constants, x))

    return Compiled(
        jax.jit(shard(init, in_specs=(WHOLE, WHOLE, RUNS, RUNS), out_specs=state)),
        jax.jit(
            shard(epoch, in_specs=(WHOLE, WHOLE, RUNS, state, WHOLE), out_specs=state),
            donate_argnums=3,
        ),
        jax.jit(shard(finalize, in_specs=(WHOLE, state), out_specs=RUNS)),
        jax.jit(shard(scores, in_specs=(RUNS, WHOLE, WHOLE), out_specs=RUNS)),
        jax.jit(
            shard(
                functools.partial(probe.training_errors, spec),
                in_specs=(WHOLE, RUNS),
                out_specs=RUNS,
            )
        ),
    )


class Trainer:
    """Trains chunks of runs by one program; a subclass says on what.

    Attributes:
      spec: what is trained.
      runs: how arrays whose first axis is the run lie on the devices.
    """

    spec: TrainSpec
    runs: NamedSharding

    def train(
        self, runs: list[Run], width: int, advance: Callable[[float], Any]
    ) -> dict[str, np.ndarray]:
        """Trains one chunk, padded to `width` by repeating its last run.

        Args:
          runs: runs of the chunk.
          width: width of all chunks.
          advance: takes how many runs, in parts, were trained since it was called last.

        Returns:
          Arrays whose first axis is the run: those of the head, scores, validation loss, best
            epoch.
        """
        padded = [*runs, *[runs[-1]] * (width - len(runs))]
        hyperparams, errors = jax.device_put(
            (stack_hyperparams(padded), jnp.zeros((width, 1), jnp.uint8)), self.runs
        )
        spec, stages = self.spec, []
        if spec.method.objective.two_stage:
            config = first_stage(spec.config)
            stages.append(dataclasses.replace(spec, config=config, method=parse("erm")))
            spec = dataclasses.replace(spec, second_stage=True)
        stages.append(spec)
        epochs = sum(stage.config.epochs for stage in stages)

        def passed(part: float) -> None:
            advance(len(runs) * part / epochs)

        for stage in stages:
            trained = self.fit(stage, hyperparams, errors, passed)
            if stage is not spec:
                errors = self.errors(stage, trained["head"])
        head = trained.pop("head")
        arrays = head | trained | self.scores(spec, head)
        return {
            name: np.ascontiguousarray(np.asarray(array)[: len(runs)])
            for name, array in arrays.items()
        }

    def fit(
        self,
        spec: TrainSpec,
        hyperparams: RunHyperparams,
        errors: Array,
        advance: Callable[[float], None],
    ) -> dict[str, Any]:
        """Trains one stage; gives what `probe.finalize` does, and epochs to `advance`, in parts."""
        raise NotImplementedError

    def errors(self, spec: TrainSpec, head: dict[str, Array]) -> Array:
        """1 where a training sample is on the wrong side of 1/2 (r, n)."""
        raise NotImplementedError

    def scores(self, spec: TrainSpec, head: dict[str, Array]) -> dict[str, Array]:
        """Gives probabilities: `validation_scores` (r, m) and `test_scores` (r, n)."""
        raise NotImplementedError


class Engine(Trainer):
    """Trains heads, with the embeddings on the local devices."""

    def __init__(self, spec: TrainSpec, data: ProbeData, x_test: np.ndarray, key: Array):
        self.spec = spec
        self.mesh = Mesh(np.asarray(jax.local_devices()), ("runs",))
        self.runs = NamedSharding(self.mesh, RUNS)
        self.data, self.x_test, self.key = jax.device_put(
            (data, x_test, key), NamedSharding(self.mesh, WHOLE)
        )

    def scores(self, spec: TrainSpec, head: dict[str, Array]) -> dict[str, Array]:
        """Scores of the embeddings."""
        score = compiled(spec, self.mesh).scores
        splits = {"validation_scores": self.data.x_validation, "test_scores": self.x_test}
        return {name: score(head, self.data.constants, x) for name, x in splits.items()}

    def errors(self, spec: TrainSpec, head: dict[str, Array]) -> Array:
        """Errors on the embeddings."""
        return compiled(spec, self.mesh).errors(self.data, head)

    def fit(
        self,
        spec: TrainSpec,
        hyperparams: RunHyperparams,
        errors: Array,
        advance: Callable[[float], None],
    ) -> dict[str, Any]:
        """Trains by epochs that are a program each."""
        functions, config = compiled(spec, self.mesh), spec.config
        state = functions.init(self.key, self.data, hyperparams, errors)
        for epoch in range(config.epochs):
            state = functions.epoch(self.key, self.data, hyperparams, state, jnp.int32(epoch))
            if config.patience and int(state.stale.min()) >= config.patience:
                break
            jax.block_until_ready(state.step)  # the bar shows what is done, not what is queued
            advance(1)
        else:
            epoch += 1
        advance(config.epochs - epoch)
        return functions.finalize(self.data, state)


def first_stage(config: ProbeConfig) -> ProbeConfig:
    """How the first of two models is trained: shorter."""
    epochs = max(round(FIRST_STAGE * config.epochs), 1)
    return dataclasses.replace(
        config, epochs=epochs, warmup_epochs=min(config.warmup_epochs, epochs - 1)
    )
