"""The mask decoders of many runs, tuned as one program, over cached image embeddings.

Runs differ in method, strength, learning rate and seed. A device goes through its runs one after
the other (a decoder's activations are large, and its matmuls fill the device), so that memory does
not grow with their number. The prompt encoder stays as it is; so does the image encoder, unless it
is given low-rank additions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int

from fairjax.metrics.overlap import dice
from fairjax.models import lora
from fairjax.models.protocols import Embedding
from fairjax.models.sam.tokens import Points
from fairjax.segmentation.tuning import losses
from fairjax.segmentation.tuning.losses import mask_sums, sample_losses
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.training.engine import RUNS, WHOLE
from fairjax.training.objectives import Step
from fairjax.training.objectives.base import Sizes
from fairjax.training.optimizer import ADAM, adamw
from fairjax.utils.random import stream

Params = dict[str, Any]  # dotted name → array


class Batch(NamedTuple):
    """Objects of one step, for each of s seeds.

    Attributes:
      x: (s, b, …) what the model is given of their images.
      coords, labels: (s, b, t, 2), (s, b, t).
      truth, inside: (s, b, h, w).
      membership: (s, b, g).
    """

    x: Any
    coords: Any
    labels: Any
    truth: Any
    inside: Any
    membership: Any


class TuneHyperparams(NamedTuple):
    """What differs between runs besides the decoder: (r,) each; `method` is the index of its
    method, and `seed_row` that of its seed in a batch.
    """

    method: Any
    strength: Any
    learning_rate: Any
    weight_decay: Any
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


class Tunable:
    """A model taken apart: what a run trains of it, and what stays as it is.

    Args:
      module: the model; without its image encoder, where embeddings are read.
      config: whether the encoder is tuned too, by low-rank additions.
    """

    def __init__(self, module: Any, config: TuneConfig):
        if config.lora_rank:
            targets = module.LORA_TARGETS
            module = lora.inject(module, targets, config.lora_rank, config.lora_alpha)

        def trained(path: tuple, leaf: Any) -> bool:
            is_adapter = isinstance(leaf, nnx.LoRAParam)
            return is_adapter or module.is_tunable(".".join(map(str, path)))

        self.module = module
        self.join, self.frozen = lora.split(module, trained)
        self._before = lora.adapters(module, trained)
        self._unravel = ravel_pytree(self._before)[1]

    def initial(self, seed: int, run_seed: int) -> Params:
        """Gives what a run trains, as it is before: the decoder as it is, and fresh additions.

        Args:
          seed: seed of the experiment.
          run_seed: seed of the run.
        """
        key = stream(jax.random.key(seed), "init", run_seed)
        return self._before | lora.initial(key, self.module)

    def ravel(self, params: Params) -> Float[Array, " p"]:
        """Joins the arrays that a run trains to one vector."""
        return ravel_pytree(params)[0]

    def unravel(self, vector: Float[Array, " p"]) -> Params:
        """Takes the vector apart."""
        return self._unravel(vector)


class Programs:
    """The compiled programs of one sweep, with the parts of the model that no run changes on the
    devices.

    Args:
      tunable: the model.
      embed: module, the `x` of a batch → what prompts are decoded on.
      methods: names that runs may have.
      n_groups: number of groups of the attribute that is balanced.
      config: how decoders are tuned.
      threshold: logit above which a pixel is foreground.
    """

    def __init__(
        self,
        tunable: Tunable,
        embed: Callable[[Any, Array], Embedding],
        methods: Sequence[str],
        n_groups: int,
        config: TuneConfig,
        threshold: float,
    ):
        self.tunable, self.embed, self.threshold = tunable, embed, threshold
        self.methods = {name: losses.methods()[name] for name in methods}
        self.sizes = Sizes(n_groups, 1, 1)
        self.mesh = Mesh(np.asarray(jax.local_devices()), ("runs",))
        self.whole, self.split = (NamedSharding(self.mesh, spec) for spec in (WHOLE, RUNS))
        self.frozen = jax.device_put(tunable.frozen, self.whole)
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

    def init(self, params: Float[np.ndarray, "r p"]) -> State:
        """The state before the first step, on the devices."""
        n = len(params)
        own = {name: row.state(self.sizes) for name, row in self.methods.items()}
        vectors = jnp.asarray(params)
        state = State(
            vectors,
            jax.vmap(ADAM.init)(vectors),
            jax.tree.map(lambda x: jnp.broadcast_to(x, (n, *x.shape)), own),
            jnp.copy(vectors),  # the state is donated: no array may be in it twice
            jnp.full(n, -jnp.inf),
            jnp.zeros(n, jnp.int32),
        )
        return jax.device_put(state, self.split)

    def _step(
        self,
        frozen: nnx.State,
        state: State,
        hyperparams: TuneHyperparams,
        weights: Float[Array, "r b"],
        batch: Batch,
        pace: Array,
    ) -> tuple[State, Float[Array, " r"]]:
        """One step of every run: its loss, and its parameters after it."""

        def one(run: tuple) -> tuple:
            params, optimizer, objective, of, weight = run
            own = jax.tree.map(lambda part: part[of.seed_row], batch)
            loss = jax.value_and_grad(self._loss, argnums=1, has_aux=True)
            (value, objective), gradient = loss(
                frozen, self.tunable.unravel(params), objective, of, weight, own
            )
            vector, rate = self.tunable.ravel(gradient), of.learning_rate * pace
            params, optimizer = adamw(vector, optimizer, params, rate, of.weight_decay)
            return params, optimizer, objective, value

        runs = state.params, state.optimizer, state.objective, hyperparams, weights
        params, optimizer, objective, value = jax.lax.map(one, runs)
        return state._replace(params=params, optimizer=optimizer, objective=objective), value

    def _loss(
        self,
        frozen: nnx.State,
        params: Params,
        objective: Any,
        of: TuneHyperparams,
        weight: Array,
        own: Batch,
    ) -> tuple:
        """The loss of one run; objectives take many runs, so that here each array is given an
        axis of one.
        """
        masks, _ = self._candidates(frozen, params, own)
        sums = jax.vmap(mask_sums)(masks, own.truth, own.inside)  # (b, 4, m)
        step = Step(
            sample_losses(sums)[None], weight, own.membership, outputs=sums.mean(-1).T[None]
        )

        def branch(name: str):
            def loss(state):
                value, after = self.methods[name].loss(step, of.strength[None], state[name])
                return value[0], state | {name: after}

            return loss

        state = jax.tree.map(lambda x: x[None], objective)
        value, after = jax.lax.switch(of.method, [branch(name) for name in self.methods], state)
        return value, jax.tree.map(lambda x: x[0], after)

    def _dice(
        self, frozen: nnx.State, params: Float[Array, "r p"], batch: Batch
    ) -> Float[Array, "r b"]:
        """Dice, at low resolution, of the candidate that the model rates best."""

        def one(params: Float[Array, " p"]) -> Float[Array, " b"]:
            masks, iou = self._candidates(frozen, self.tunable.unravel(params), batch)
            best = jnp.take_along_axis(masks, iou.argmax(-1)[:, None, None, None], axis=1)[:, 0]
            return jax.vmap(dice)(
                (best > self.threshold) & batch.inside, batch.truth & batch.inside
            )

        return jax.lax.map(one, params)

    def _candidates(
        self, frozen: nnx.State, params: Params, own: Batch
    ) -> tuple[Float[Array, "b m h w"], Float[Array, "b m"]]:
        module = self.tunable.join(params, frozen)
        points = Points(own.coords[:, None], own.labels[:, None])
        masks, iou = module.propose(self.embed(module, own.x), points)
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
