"""LoRA: low-rank additions to the linear layers of a frozen image tower.

Source: Hu et al. 2022, LoRA: low-rank adaptation of large language models.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from fairjax.models.stack import layer_names
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError, lookup

Filter = Any  # of NNX: a type of variables, or a function of path and variable
Adapters = dict[str, Array]  # "vision.encoder.blocks.0.attn.qkv.a", and ".b"


class LowRank(nnx.Module):
    """A linear layer and what is added to it: base(x) + alpha / rank · x A B. It begins with B = 0,
    as the layer alone.

    Args:
      base: the layer; one of several stacked layers (`stack.Layers`) has kernels (layers, i, o).
      rank: rank of the addition.
      alpha: what it is multiplied by, over its rank.
    """

    def __init__(self, base: nnx.Linear, rank: int, alpha: float):
        *layers, n_in, n_out = base.kernel.shape
        self.base, self.factor = base, alpha / rank
        self.a = nnx.LoRAParam(jnp.zeros((*layers, n_in, rank)))
        self.b = nnx.LoRAParam(jnp.zeros((*layers, rank, n_out)))

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """Maps each vector."""
        x, a, b = nnx.nn.dtypes.promote_dtype((x, self.a[...], self.b[...]), dtype=self.base.dtype)
        # flat: gradients that sum over several axes are slow on XLA:CPU
        added = x.reshape(-1, x.shape[-1]) @ a @ b
        return self.base(x) + self.factor * added.reshape(*x.shape[:-1], -1)

    def merged(self) -> nnx.Linear:
        """The linear layer that gives the same."""
        kernel = self.base.kernel[...] + self.factor * jnp.matmul(
            self.a[...], self.b[...], precision="highest"
        )
        self.base.kernel[...] = kernel
        return self.base


def targets_of(name: str) -> tuple[str, ...]:
    """Which layers of a foundation model are adapted: the ends of their paths in its image tower.

    Raises:
      UserError: the model is unknown, or a convolutional network, which has no such layers.
    """
    if not (targets := lookup("model", name, MODELS).lora_targets):
        able = ", ".join(row.name for row in MODELS.values() if row.lora_targets)
        raise UserError(
            f"{name} has no linear layers for LoRA in its image tower; these have: {able}"
        )
    return targets


def inject(module: nnx.Module, targets: Sequence[str], rank: int, alpha: float) -> nnx.Module:
    """A module that shares the arrays of `module`, with additions, all 0, to the layers of its
    image tower.

    Args:
      module: a model with an image tower.
      targets: ends of the layers' paths, such as `attn.qkv`.
      rank: rank of every addition.
      alpha: what an addition is multiplied by, over its rank.

    Raises:
      UserError: a target is no layer of the tower, or the rank is below 1.
    """
    if rank < 1:
        raise UserError(f"the rank of LoRA must be at least 1, not {rank}")
    module = nnx.merge(*nnx.split(module))
    found = [path for path, layer in _layers(module, nnx.Linear) if _ends(path, targets)]
    for target in targets:
        if not any(_ends(path, (target,)) for path in found):
            raise UserError(
                f"LoRA: {target!r} is no linear layer of {type(module).__name__}'s image tower"
            )
    _replace(module, found, lambda layer: LowRank(layer, rank, alpha))
    return module


def merge(module: nnx.Module) -> nnx.Module:
    """A module like the one before `inject`, whose weights hold what was added."""
    module = nnx.clone(module)
    _replace(module, [path for path, _ in _layers(module, LowRank)], LowRank.merged)
    return module


def initial(key: Key[Array, ""], module: nnx.Module) -> Adapters:
    """Fresh additions to the layers of `inject`'s module: A uniform in ±1/√i, of each layer by its
    name, and B = 0.
    """

    def draw(name: str, shape: tuple[int, ...]) -> Array:
        bound = shape[0] ** -0.5 if name.endswith(".a") else 0.0
        return jax.random.uniform(
            jax.random.fold_in(key, zlib.crc32(name.encode())), shape, jnp.float32, -bound, bound
        )

    drawn = {}
    for name, x in adapters(module).items():
        layers = [
            draw(layer, x.shape[-2:]) for layer in layer_names(tuple(name.split(".")), x.shape)
        ]
        drawn[name] = layers[0] if x.ndim == 2 else jnp.stack(layers)
    return drawn


def adapters(module: nnx.Module, trained: Filter = nnx.LoRAParam) -> Adapters:
    """Gives the additions of a module, by their dotted names.

    Args:
      module: from `inject`.
      trained: a filter of NNX, if other arrays are trained too.
    """
    flat = nnx.to_flat_state(nnx.state(module, trained))
    return {_name(path): leaf.get_value() for path, leaf in flat}


def split(
    module: nnx.Module, trained: Filter = nnx.LoRAParam
) -> tuple[Callable[..., Any], nnx.State]:
    """Takes a module apart for programs of many adapters on one frozen tower.

    Args:
      module: from `inject`.
      trained: as in `adapters`.

    Returns:
      A function of adapters (and of the frozen arrays, if they are an argument of the program),
      which gives the module; and the frozen arrays.
    """
    graph, state, frozen = nnx.split(module, trained, ...)  # type: ignore[misc]
    leaves = nnx.to_flat_state(state)

    def join(arrays: Adapters, arrays_of_tower: nnx.State = frozen) -> Any:
        flat = [(path, leaf.replace(arrays[_name(path)])) for path, leaf in leaves]
        return nnx.merge(graph, nnx.from_flat_state(flat), arrays_of_tower)

    return join, frozen


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _ends(path: tuple[Any, ...], targets: Sequence[str]) -> bool:
    return any(f".{_name(path)}".endswith(f".{target}") for target in targets)


def _layers(module: nnx.Module, kind: type) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Paths and layers of a kind in the image tower."""
    tower = tuple(filter(None, (getattr(module, "IMAGE_TOWER", ""),)))
    for path, layer in nnx.iter_modules(module):
        if isinstance(layer, kind) and path[: len(tower)] == tower:
            yield path, layer


def _replace(
    module: nnx.Module, paths: Sequence[tuple[Any, ...]], new: Callable[[Any], nnx.Module]
) -> None:
    for *above, last in paths:
        parent: Any = module
        for part in above:
            parent = parent[part] if isinstance(part, int) else getattr(parent, part)
        setattr(parent, last, new(getattr(parent, last)))
