"""Stacks of equal blocks: unrolled, or scanned over the stacked arrays of all layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

# Layers from which on a loop, quick to compile, is worth its copy of each layer's weights.
SCAN_DEPTH = 24
EVERY = "*"  # in an array's path, the layer's number: its first axis is the layer


class Layers(nnx.Module):
    """One block whose arrays are those of all layers, stacked, under the name `EVERY`."""

    def __init__(self, blocks: list[nnx.Module]):
        state = jax.tree.map(lambda *layers: jnp.stack(layers), *map(nnx.state, blocks))
        setattr(self, EVERY, nnx.merge(nnx.graphdef(blocks[0]), state))

    def split(self) -> tuple[nnx.GraphDef, nnx.State]:
        """The block's structure, and the stacked arrays."""
        return nnx.split(getattr(self, EVERY))

    def __iter__(self) -> Iterator[Any]:
        """The layers, one module each."""
        graph, state = self.split()
        n_layers = jax.tree.leaves(state)[0].shape[0]
        return (nnx.merge(graph, jax.tree.map(lambda x, i=i: x[i], state)) for i in range(n_layers))


class Stack(nnx.Module):
    """A stack of equal blocks, named `blocks.0`, `blocks.1`, …

    A subclass defines `__call__` itself, be it by `super()`: Flax captures outputs of a class's own
    methods alone.

    Args:
      make: function that makes a block, with fresh weights at every call.
      depth: number of blocks.
      scan: whether the blocks run as one in a loop, which compiles in seconds however many they are
        and, per layer, copies its weights once; None: from `SCAN_DEPTH` layers on.
      remat: whether gradients compute a block's intermediate results again in place of keeping
        them.
    """

    def __init__(
        self,
        make: Callable[[], nnx.Module],
        depth: int,
        *,
        scan: bool | None = None,
        remat: bool = False,
    ):
        self.remat = remat
        blocks = [make() for _ in range(depth)]
        scan = depth >= SCAN_DEPTH if scan is None else scan
        self.blocks: Any = Layers(blocks) if scan else nnx.List(blocks)

    def __call__(self, x: Float[Array, "b n d"], *args: Any) -> Float[Array, "b n d"]:
        """The output of the last block; each takes the output of the one before, and `args`."""
        if isinstance(self.blocks, Layers):
            graph, layers = self.blocks.split()
            step = self._step(graph, args)
            return jax.lax.scan(lambda x, layer: (step(layer, x), None), x, layers)[0]
        for block in self.blocks:
            if self.remat:
                graph, layer = nnx.split(block)
                x = self._step(graph, args)(layer, x)
            else:
                x = block(x, *args)
        return x

    def _step(
        self, graph: nnx.GraphDef, args: tuple[Any, ...]
    ) -> Callable[[nnx.State, Array], Array]:
        def step(layer: nnx.State, x: Array) -> Array:
            block: Any = nnx.merge(graph, layer)
            return block(x, *args)

        return jax.checkpoint(step) if self.remat else step

    def unroll(self) -> None:
        """Makes each block a module of its own, with the same weights and results."""
        self.remat = False
        self.blocks = nnx.List(self.blocks)


def unrolled(module: nnx.Module) -> nnx.Module:
    """A copy of a module whose stacks are unrolled: every block can be looked at."""
    module = nnx.clone(module)
    for stack in [m for _, m in nnx.iter_modules(module) if isinstance(m, Stack)]:
        stack.unroll()
    return module


def layer_names(path: tuple[Any, ...], shape: tuple[int, ...]) -> list[str]:
    """The dotted names of an array's layers if its path has `EVERY`; else its own name."""
    layers = range(shape[0] if EVERY in path else 1)
    return [".".join(str(i if part == EVERY else part) for part in path) for i in layers]


def stacked(layers: list[Any]) -> Array:
    """Arrays stacked along a first axis that is not sharded, whatever the sharding of theirs."""
    sharding = getattr(layers[0], "sharding", None) if isinstance(layers[0], jax.Array) else None
    if not isinstance(sharding, NamedSharding):
        return jnp.stack(layers)
    sharding = NamedSharding(
        sharding.mesh, PartitionSpec(None, *sharding.spec), memory_kind=sharding.memory_kind
    )
    return jax.jit(jnp.stack, out_shardings=sharding)(layers)
