"""Newton and L-BFGS for many logistic regressions on one set of features, in step.

Both descend along a direction, and differ in how they find it. The line search is Newton's as well,
in one dimension: the logits along a direction are `z + α dz`, so that trying another α costs no
matmul.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float, Int

HISTORY = 8  # pairs that L-BFGS remembers
LINE_STEPS = 3  # of the line search


class Problem(NamedTuple):
    """r regressions, as arrays of NumPy or JAX, or as where they are sharded.

    Attributes:
      x: (n, d) features with a last column of ones, shared.
      y: (r, n) labels in {0, 1}.
      weights: (r, n) of samples, ≥ 0.
      penalty: (r, d) 1/C, and 0 for the column of ones.
    """

    x: Any
    y: Any
    weights: Any
    penalty: Any


class Memory(NamedTuple):
    """What L-BFGS remembers of r runs, the newest last: m steps s, differences of gradients y, and
    1 / s·y.
    """

    steps: Float[Array, "m r d"]
    differences: Float[Array, "m r d"]
    inverse: Float[Array, "m r"]
    scale: Float[Array, " r"]


class Descent(NamedTuple):
    """r descents, each at its own pace until it stops.

    Attributes:
      params, gradient: (r, d).
      logits: (r, n).
      memory: memory of L-BFGS; None for Newton.
      active: (r,) which continue.
      converged: (r,) whose next step was shorter than `tolerance` times its parameters.
      iterations: (r,) steps taken.
    """

    params: Float[Array, "r d"]
    gradient: Float[Array, "r d"]
    logits: Float[Array, "r n"]
    memory: Memory | None
    active: Bool[Array, " r"]
    converged: Bool[Array, " r"]
    iterations: Int[Array, " r"]


def minimise(
    problem: Problem,
    start: Float[Array, "r d"],
    *,
    newton: bool,
    batch: int,
    tolerance: float,
    max_iterations: int,
) -> Descent:
    """Minimises Σ w ℓ(x·k, y) + Σ penalty k² / 2 for every run.

    Args:
      problem: the data.
      start: (r, d) parameters to begin with.
      newton: Newton with the whole Hessian, else L-BFGS.
      batch: runs whose Hessians are in memory at once; divides r.
      tolerance: a run stops where the proposed step is at most this fraction of its parameters,
        both in 2-norm.
      max_iterations: iterations after which it stops anyway.

    Returns:
      The descents at their end.
    """
    r, d = problem.penalty.shape
    # the Hessian's diagonal where all logits are 0
    curvature = problem.weights @ problem.x**2 / 4 + problem.penalty

    def going(state: Descent):
        return jnp.any(state.active)

    def step(state: Descent) -> Descent:
        memory = state.memory
        direction = -(
            _newton(problem, state, batch)
            if memory is None
            else _two_loop(memory, state.gradient, curvature)
        )
        length = jnp.linalg.norm(direction, axis=1)
        arrived = length <= tolerance * jnp.linalg.norm(state.params, axis=1)
        active = (
            state.active & ~arrived & jnp.isfinite(length) & (state.iterations < max_iterations)
        )
        direction = jnp.where(active[:, None], direction, 0)
        along = direction @ problem.x.T
        alpha = _line_search(problem, state, direction, along)
        taken = alpha[:, None] * direction
        params, logits = state.params + taken, state.logits + alpha[:, None] * along
        gradient = jnp.where(active[:, None], gradient_of(problem, params, logits), state.gradient)
        if memory is not None:
            memory = _remember(memory, taken, gradient - state.gradient, curvature, active)
        converged = state.converged | (state.active & arrived)
        return Descent(
            params, gradient, logits, memory, active, converged, state.iterations + active
        )

    logits = start @ problem.x.T
    zeros = jnp.zeros((HISTORY, r, d))
    begin = Descent(
        start,
        gradient_of(problem, start, logits),
        logits,
        None if newton else Memory(zeros, zeros, jnp.zeros((HISTORY, r)), jnp.ones(r)),
        jnp.ones(r, bool),
        jnp.zeros(r, bool),
        jnp.zeros(r, jnp.int32),
    )
    return jax.lax.while_loop(going, step, begin)


def gradient_of(
    problem: Problem, params: Float[Array, "r d"], logits: Float[Array, "r n"]
) -> Float[Array, "r d"]:
    """The gradient (r, d) at parameters with those logits."""
    residual = problem.weights * (jax.nn.sigmoid(logits) - problem.y)
    return residual @ problem.x + problem.penalty * params


def _newton(problem: Problem, state: Descent, batch: int) -> Float[Array, "r d"]:
    """H⁻¹ g of every run, by one Cholesky each."""
    p = jax.nn.sigmoid(state.logits)
    curvature = problem.weights * p * (1 - p)

    def solve(run):
        curvature_n, penalty, gradient = run
        hessian = (problem.x * curvature_n[:, None]).T @ problem.x + jnp.diag(penalty)
        return cho_solve(cho_factor(hessian), gradient)

    return jax.lax.map(solve, (curvature, problem.penalty, state.gradient), batch_size=batch)


def _two_loop(
    memory: Memory, gradient: Float[Array, "r d"], curvature: Float[Array, "r d"]
) -> Float[Array, "r d"]:
    """The inverse Hessian's estimate times the gradient: Nocedal 1980, from the scaled inverse of
    `curvature` on.
    """

    def back(q, pair):
        step, difference, inverse = pair
        a = inverse * jnp.sum(step * q, 1)
        return q - a[:, None] * difference, a

    def forth(q, pair):
        step, difference, inverse, a = pair
        b = inverse * jnp.sum(difference * q, 1)
        return q + (a - b)[:, None] * step, None

    pairs = memory.steps, memory.differences, memory.inverse
    q, a = jax.lax.scan(back, gradient, pairs, reverse=True)
    return jax.lax.scan(forth, memory.scale[:, None] * q / curvature, (*pairs, a))[0]


def _remember(
    memory: Memory, step: Array, difference: Array, curvature: Array, active: Bool[Array, " r"]
) -> Memory:
    """Appends a pair for the active runs; a pair without positive curvature, which is rounding,
    counts nothing.
    """
    product = jnp.sum(step * difference, 1)
    sound = active & (product > 0)
    inverse = jnp.where(sound, 1 / jnp.where(sound, product, 1), 0)
    scaled = product / jnp.maximum(jnp.sum(difference**2 / curvature, 1), 1e-30)

    def append(old, new):
        shifted = jnp.concatenate([old[1:], new[None]])
        return jnp.where(active.reshape(1, -1, *[1] * (old.ndim - 2)), shifted, old)

    return Memory(
        append(memory.steps, step),
        append(memory.differences, difference),
        append(memory.inverse, inverse),
        jnp.where(sound, scaled, memory.scale),
    )


def _line_search(
    problem: Problem, state: Descent, direction: Array, along: Float[Array, "r n"]
) -> Float[Array, " r"]:
    """The α > 0 where the loss along the direction is least, nearly: Newton from 1, kept within a
    bracket.
    """
    linear = jnp.sum(problem.penalty * state.params * direction, 1)
    quadratic = jnp.sum(problem.penalty * direction**2, 1)

    def step(carry, _):
        alpha, low, high = carry
        p = jax.nn.sigmoid(state.logits + alpha[:, None] * along)
        slope = jnp.sum(problem.weights * (p - problem.y) * along, 1) + linear + alpha * quadratic
        bend = jnp.sum(problem.weights * p * (1 - p) * along**2, 1) + quadratic
        low, high = jnp.where(slope < 0, alpha, low), jnp.where(slope < 0, high, alpha)
        better = alpha - slope / jnp.where(bend > 0, bend, 1)
        outside = jnp.where(jnp.isfinite(high), (low + high) / 2, 2 * alpha)
        return (jnp.where((better > low) & (better < high), better, outside), low, high), None

    r = len(linear)
    return jax.lax.scan(step, (jnp.ones(r), jnp.zeros(r), jnp.full(r, jnp.inf)), None, LINE_STEPS)[
        0
    ][0]
