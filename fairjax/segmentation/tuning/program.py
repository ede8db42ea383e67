"""The mask decoders of many runs, tuned as one program, over cached image embeddings.

Runs differ in method, strength, learning rate and seed. A device goes through its runs one after
the other (a decoder's activations are large, and its matmuls fill the device), so that memory does
not grow with their number. The prompt encoder stays as it is; so does the image encoder, unless it
is given low-rank additions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from fairjax.metrics.overlap import dice
from fairjax.models.checkpoint import state_dict, with_arrays
from fairjax.models.sam.tokens import Points
from fairjax.segmentation.tuning import lora
from fairjax.segmentation.tuning.losses import METHODS, mask_sums, sample_losses
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.training.objectives import Step
from fairjax.training.objectives.base import Sizes

Params = dict[str, Any]  # name in `state_dict` → array; of many runs, the run first
ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
RUNS, WHOLE = PartitionSpec("runs"), PartitionSpec()
FIXED = (
    "decoder.skip4.",
    "decoder.skip8.",
)  # of SAM 2: their outputs are part of the cached embedding


class Batch(NamedTuple):
    """Objects of one step, for each of s seeds: `x` (s, b, …) what the model is given of their
    images, `coords` (s, b, t, 2), `labels` (s, b, t), `truth` and `inside` (s, b, h, w),
    `membership` (s, b, g)."""

    x: Any
    coords: Any
    labels: Any
    truth: Any
    inside: Any
    membership: Any


class Hyper(NamedTuple):
    """What differs between runs besides the decoder: (r,) each; `seed_row` is the place of its seed
    in a batch.
    """

    method: Any
    strength: Any
    learning_rate: Any
    seed_row: Any


class State(NamedTuple):
    """Runs in mid-training; every array's first axis is the run.

    Attributes:
      params: what is trained, as one vector: a program of few large arrays is compiled in a fifth
        of the time.
      optimizer: Adam's moments.
      objective: method → what it keeps from step to step.
      best, best_score, best_epoch: the parameters of the best epoch, its validation score, and its
        number, 0 for the decoder before any training.
    """

    params: Float[Array, "r p"]
    optimizer: Any
    objective: dict[str, dict[str, Array]]
    best: Float[Array, "r p"]
    best_score: Float[Array, " r"]
    best_epoch: Int[Array, " r"]


class Layout(NamedTuple):
    """Where each array lies in the vector of what a run trains: name and shape, in order."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, params: Params) -> Layout:
        """That of these arrays."""
        return cls(tuple((name, tuple(params[name].shape)) for name in sorted(params)))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes)

    def join(self, params: Params) -> Float[Array, " p"]:
        """The vector of arrays."""
        return jnp.concatenate([jnp.ravel(params[name]) for name, _ in self.shapes])

    def take(self, vector: Any) -> Params:
        """The arrays of a vector."""
        ends = np.cumsum([int(np.prod(shape)) for _, shape in self.shapes])
        starts = [0, *ends[:-1].tolist()]
        return {
            name: vector[start:end].reshape(shape)
            for (name, shape), start, end in zip(self.shapes, starts, ends.tolist(), strict=True)
        }


class Programs:
    """The compiled programs of one sweep, with the parts of the model that no run changes on the
    devices.

    Args:
      module: what is prompted; its `embed` takes the `x` of a batch.
      methods: names that runs may have.
      n_groups: groups of the attribute that is balanced.
      config: how.
      threshold: above it, a logit is foreground.
    """

    def __init__(
        self,
        module: nnx.Module,
        methods: Sequence[str],
        n_groups: int,
        config: TuneConfig,
        threshold: float,
    ):
        self.module, self.methods, self.config, self.threshold = (
            module,
            tuple(methods),
            config,
            threshold,
        )
        self.sizes = Sizes(n_groups, 1, 1)
        self.mesh = Mesh(np.asarray(jax.local_devices()), ("runs",))
        self.whole, self.split = (NamedSharding(self.mesh, spec) for spec in (WHOLE, RUNS))
        self.fixed = jax.device_put(state_dict(module), self.whole)
        self.layout = Layout.of(self.initial(0, 0))
        shard = functools.partial(jax.shard_map, mesh=self.mesh, check_vma=False)
        self.step = jax.jit(
            shard(
                self._step, in_specs=(WHOLE, RUNS, RUNS, RUNS, WHOLE, WHOLE), out_specs=(RUNS, RUNS)
            ),
            donate_argnums=1,
        )
        self.dice = jax.jit(shard(self._dice, in_specs=(WHOLE, RUNS, WHOLE), out_specs=RUNS))
        self.keep = jax.jit(
            shard(_keep, in_specs=(RUNS, RUNS, WHOLE), out_specs=RUNS), donate_argnums=0
        )

    def initial(self, seed: int, run_seed: int) -> Params:
        """What a run trains, as it is before: the decoder's arrays, and the additions to the
        encoder's.
        """
        names = [
            name
            for name in self.fixed
            if name.startswith("decoder.") and not name.startswith(FIXED)
        ]
        decoder = {name: np.asarray(self.fixed[name]) for name in names}
        return decoder | lora.initial(self.fixed, self.config.lora_rank, seed, run_seed)

    def init(self, params: Float[np.ndarray, "r p"]) -> State:
        """The state before the first step, on the devices."""
        n = len(params)
        own = {name: METHODS[name].state(self.sizes) for name in self.methods}
        vectors = jnp.asarray(params)
        state = State(
            vectors,
            jax.vmap(ADAM.init)(vectors),
            jax.tree.map(lambda x: jnp.broadcast_to(x, (n, *x.shape)), own),
            jnp.copy(vectors),  # the state is donated: no array may stand in it twice
            jnp.full(n, -jnp.inf),
            jnp.zeros(n, jnp.int32),
        )
        return jax.device_put(state, self.split)

    def _module(self, fixed: Params, params: Params) -> Any:
        return with_arrays(self.module, fixed | lora.merged(fixed, params))

    def _step(
        self,
        fixed: Params,
        state: State,
        hyper: Hyper,
        weights: Float[Array, "r b"],
        batch: Batch,
        rate: Array,
    ) -> tuple[State, Float[Array, " r"]]:
        """One step of every run: its loss, and its parameters after it."""

        def one(run: tuple) -> tuple:
            params, optimizer, objective, of, weight = run
            own = jax.tree.map(lambda part: part[of.seed_row], batch)
            losses = jax.value_and_grad(self._loss, argnums=1, has_aux=True)
            (value, objective), gradient = losses(
                fixed, self.layout.take(params), objective, of, weight, own
            )
            direction, optimizer = ADAM.update(self.layout.join(gradient), optimizer, params)
            pace = of.learning_rate * rate
            decay = self.config.weight_decay
            params = params - pace * (direction + decay * params)
            return params, optimizer, objective, value

        runs = state.params, state.optimizer, state.objective, hyper, weights
        params, optimizer, objective, value = jax.lax.map(one, runs)
        return state._replace(params=params, optimizer=optimizer, objective=objective), value

    def _loss(
        self, fixed: Params, params: Params, objective: Any, of: Hyper, weight: Array, own: Batch
    ) -> tuple:
        """The loss of one run; objectives speak of many runs, so that here each array is given an
        axis of one.
        """
        masks, _ = _candidates(self._module(fixed, params), own)
        sums = jax.vmap(mask_sums)(masks, own.truth, own.inside)  # (b, 4, m)
        step = Step(
            sample_losses(sums)[None], weight, own.membership, outputs=sums.mean(-1).T[None]
        )

        def branch(name: str):
            def loss(state):
                value, after = METHODS[name].loss(step, of.strength[None], state[name])
                return value[0], state | {name: after}

            return loss

        state = jax.tree.map(lambda x: x[None], objective)
        value, after = jax.lax.switch(of.method, [branch(name) for name in self.methods], state)
        return value, jax.tree.map(lambda x: x[0], after)

    def _dice(
        self, fixed: Params, params: Float[Array, "r p"], batch: Batch
    ) -> Float[Array, "r b"]:
        """Dice, at low resolution, of the candidate that the model rates best."""

        def one(params: Float[Array, " p"]) -> Float[Array, " b"]:
            masks, iou = _candidates(self._module(fixed, self.layout.take(params)), batch)
            best = jnp.take_along_axis(masks, iou.argmax(-1)[:, None, None, None], axis=1)[:, 0]
            return jax.vmap(dice)(
                (best > self.threshold) & batch.inside, batch.truth & batch.inside
            )

        return jax.lax.map(one, params)


def _candidates(module: Any, own: Batch) -> tuple[Float[Array, "b m h w"], Float[Array, "b m"]]:
    decoded = module.decode(module.embed(own.x), Points(own.coords[:, None], own.labels[:, None]))
    masks, iou = module.candidates(decoded)
    return masks[:, 0], iou[:, 0]


def _keep(state: State, score: Float[Array, " r"], epoch: Int[Array, ""]) -> State:
    """The state with what is best so far."""
    better = score > state.best_score

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return state._replace(
        best=jax.tree.map(choose, state.params, state.best),
        best_score=choose(score, state.best_score),
        best_epoch=choose(jnp.broadcast_to(epoch, better.shape), state.best_epoch),
    )
