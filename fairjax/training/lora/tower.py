"""A frozen tower that takes the adapters of many runs, and how their training is cut to fit the
devices.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from fairjax.models import lora
from fairjax.models.stack import Stack
from fairjax.training import averaging
from fairjax.training.engine import Plan
from fairjax.training.heads import Head
from fairjax.training.optimizer import FLOAT_BYTES, RUN_COPIES
from fairjax.training.program import TrainSpec
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError

# runs per device: with more, nothing is decoded or compiled less often that would count
LARGEST_GROUP = 16
WORKSPACE = 1.3  # what a gradient takes, over what it keeps of the forward pass


@dataclasses.dataclass(frozen=True)
class LoRA:
    """What is added to the tower.

    Attributes:
      rank, alpha: the addition is alpha / rank · A B.
      targets: ends of the paths of the layers; () takes those that the zoo names for the model.
      remat: whether blocks of a transformer keep nothing for the gradient but what enters them.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    remat: bool = False


class Tower:
    """A frozen tower that takes adapters.

    Args:
      module: with `probe_features`.
      settings: settings of the adapters; the targets are given.
      scaling: mean (d,) of the frozen tower's features, and what they are multiplied by; its
        adapters begin at 0, and so each run at the function that a probe begins at.
    """

    def __init__(self, module: nnx.Module, settings: LoRA, scaling: tuple[np.ndarray, np.ndarray]):
        module = lora.inject(module, settings.targets, settings.rank, settings.alpha)
        if settings.remat:
            for _, stack in nnx.iter_modules(module):
                if isinstance(stack, Stack):
                    stack.remat = True
        self.module = module
        self._join, state = lora.split(module)
        self.frozen = state, jnp.asarray(scaling[0]), jnp.asarray(scaling[1])
        self._shapes = {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype)
            for name, x in lora.adapters(module).items()
        }

    @property
    def width(self) -> int:
        """Of the features."""
        return len(self.frozen[1])

    def head(self, head: Head) -> Head:
        """A head with parameters for the tower besides its own, which are those of a probe of the
        same seed.
        """

        def init(key, k, d):
            return head.init(key, k, d) | lora.initial(jax.random.fold_in(key, 2), self.module)

        return dataclasses.replace(head, init=init)

    @property
    def parameters(self) -> int:
        """Numbers in the adapters of one run."""
        return sum(math.prod(x.shape) for x in self._shapes.values())

    def encode(
        self, frozen: Any, parameters: dict[str, Array], images: Float[Array, "b h w 3"]
    ) -> Float[Array, "b d"]:
        """Features of images, by one run's adapters."""
        state, mean, scale = frozen
        module = self._join({name: parameters[name] for name in self._shapes}, state)
        return (module.probe_features(images) - mean) * scale

    def encode_all(
        self, frozen: Any, parameters: dict[str, Array], images: Float[Array, "k m h w 3"]
    ) -> Float[Array, "r k*m d"]:
        """Features of a batch in k parts, by the adapters of r runs; of several parts the gradient
        keeps nothing.
        """
        adapters = {name: parameters[name] for name in self._shapes}

        def some(images: Float[Array, "m h w 3"]) -> Float[Array, "r m d"]:
            return jax.vmap(lambda one: self.encode(frozen, one, images))(adapters)

        if len(images) == 1:
            return some(images[0])
        parts = jax.lax.map(jax.checkpoint(some, prevent_cse=False), images)  # (k, r, m, d)
        return jnp.moveaxis(parts, 0, 1).reshape(parts.shape[1], -1, parts.shape[-1])

    def held_bytes(self, image_shape: tuple[int, ...]) -> int:
        """What the gradient of one run keeps of the forward pass, per image."""

        def kept(images: int) -> int:
            x = jax.ShapeDtypeStruct((images, *image_shape), np.float32)

            def pull(frozen, adapters, x):
                return jax.vjp(lambda adapters: self.encode(frozen, adapters, x), adapters)[1]

            arrays = jax.tree.leaves(jax.eval_shape(pull, self.frozen, self._shapes, x))
            return sum(a.size * a.dtype.itemsize for a in arrays)

        return kept(2) - kept(1)

    def flops(self, image_shape: tuple[int, ...]) -> float:
        """Of one image's features by one run's adapters."""
        x = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
        costs: Any = jax.jit(self.encode).lower(self.frozen, self._shapes, x).cost_analysis()
        return costs["flops"]


class Layout(NamedTuple):
    """How a chunk lies on the devices.

    Attributes:
      axis: what is spread over the devices: `runs`, or, where there are fewer runs than devices,
        `images`.
      parts: number of parts that a batch is cut into.
    """

    axis: str
    parts: int

    def placed(self, mesh: Mesh) -> tuple[NamedSharding, NamedSharding, NamedSharding]:
        """Where arrays (r, …), images (k, m, …), and all others lie."""
        runs = PartitionSpec(self.axis) if self.axis == "runs" else PartitionSpec()
        images = PartitionSpec(None, self.axis) if self.axis == "images" else PartitionSpec()
        whole = NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, runs), NamedSharding(mesh, images), whole


def lay_out(
    runs: Sequence[Run],
    tower: Tower,
    spec: TrainSpec,
    sizes: Mapping[str, int],
    image_shape: tuple[int, ...],
    memory_bytes: float,
) -> tuple[Plan, Layout]:
    """Cuts a sweep so that a step of a chunk fits into `memory_bytes` on each device.

    Args:
      runs: what to train.
      tower: on what.
      spec: how.
      sizes: samples per split.
      image_shape: (h, w, 3).
      memory_bytes: budget of one device, the frozen weights included.

    Raises:
      UserError: not even one run and one image fit.
    """
    devices, batch, config = jax.local_device_count(), spec.config.batch_size, spec.config
    pixels = math.prod(image_shape)
    weights = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tower.frozen))
    fixed = weights + 2 * batch * pixels * FLOAT_BYTES
    copies = RUN_COPIES + averaging.COPIES[spec.method.average]
    scores = sizes["validation"] + sizes["test"] + 3 * sizes["train"] * spec.weighted
    workspace = spec.method.objective.workspace(batch) + 4 * batch * tower.width
    per_run = FLOAT_BYTES * (copies * (tower.parameters + tower.width) + scores + workspace)
    per_image = WORKSPACE * tower.held_bytes(image_shape)
    axis = "images" if len(runs) < devices and batch % devices == 0 else "runs"
    most = min(LARGEST_GROUP, -(-len(runs) // devices) if axis == "runs" else len(runs))
    local = min(most, int((memory_bytes - fixed) // (per_run + per_image)))
    if local < 1:
        raise UserError(
            f"LoRA needs {(fixed + per_run + per_image) / 2**30:.1f} GiB for one run and one "
            f"image, more than --config.memory_gib={memory_bytes / 2**30:g} allows; "
            "recomputing blocks (remat) needs less"
        )
    spread = devices if axis == "images" else 1
    room = int((memory_bytes - fixed - local * per_run) // (local * per_image)) * spread
    together = max(m for m in range(spread, batch + 1, spread) if batch % m == 0 and m <= room)
    bytes_per_chunk = int(fixed + local * (per_run + per_image * together // spread))
    passes = 4 if together < batch else 3
    per_epoch = passes * (2 if spec.method.sharpness else 1) * sizes["train"] + sizes["validation"]
    flops = tower.flops(image_shape) * per_epoch * config.epochs * len(runs)
    width = local * (devices if axis == "runs" else 1)
    return Plan(runs, width, bytes_per_chunk, flops), Layout(axis, batch // together)
