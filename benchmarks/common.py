"""What benchmarks share: the fastest of repeated calls, and this machine's matmul rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def fastest(function: Callable[[], object], repeats: int = 3, warm_up: bool = False) -> float:
    """Returns the seconds of the fastest call, perhaps after one that is not timed."""
    if warm_up:
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def gemm_rate() -> float:
    """Returns the FLOP/s of a large float32 matmul."""
    n = 2048
    a = jnp.ones((n, n), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    return 2 * n**3 / fastest(lambda: product(a).block_until_ready(), 5, warm_up=True)
