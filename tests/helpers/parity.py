"""What the parity tests of all families share: a recording's module, its outputs, and the bar.

The way is the real one: converter -> Orbax -> `models.load`.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
from flax import nnx

from helpers.golden import Recording, relative_error

TOLERANCE = 1e-5  # relative L2, float32


def run(module: nnx.Module, function, *args):
    """`function(module, *args)`, compiled, in full float32."""
    graph, state = nnx.split(module)
    with jax.default_matmul_precision("highest"):
        return jax.jit(lambda state, *args: function(nnx.merge(graph, state), *args))(state, *args)


def images_of(io, suffix: str = ""):
    return jnp.asarray(io[f"in.pixel_values{suffix}"].transpose(0, 2, 3, 1))


def assert_all_equal(io, table, ours, suffix: str = ""):
    """Compares every `out.*` with this suffix, and requires that each is known."""
    found = {
        re.fullmatch(r"out\.(\w+?)((?:_\d+x\d+)?)", name): io[name]
        for name in io
        if name.startswith("out.")
    }
    recorded = {match[1]: theirs for match, theirs in found.items() if match[2] == suffix}
    assert recorded
    errors = {name: relative_error(ours[table[name]], theirs) for name, theirs in recorded.items()}
    assert max(errors.values()) <= TOLERANCE, errors


def name_of(recording: Recording) -> str:
    return recording.folder.name
