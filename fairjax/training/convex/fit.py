"""Full-batch convex probes: the optimum of L2-regularised logistic regression, for many runs at
once.

A run has its own C, weights of samples (a bootstrap's multiplicities, a group's weight) and labels;
all share the features, so that one iteration of all is one matmul forward and one backward. The
loss is scikit-learn's, Σ w ℓ + ‖kernel‖² / (2C), with the bias unpenalised.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from fairjax.training.convex.solvers import HISTORY, Problem, minimise
from fairjax.training.optimizer import FLOAT_BYTES
from fairjax.utils.errors import UserError
from fairjax.utils.progress import bar

SOLVERS = ("auto", "newton", "lbfgs")
NEWTON_FEATURES = 1024  # up to here `auto` lets Newton finish what L-BFGS could not
NEWTON_BATCH = 16  # Hessians at once
# up to here the eigenvectors of the features cost less than the iterations they save
ROTATED_FEATURES = 2048
# of what has the shape (r, n): labels, weights, logits, along, and what the line search makes of
# them
SAMPLE_COPIES = 8
PARAMETER_COPIES = 10  # of what has the shape (r, d), besides L-BFGS's memory


class Fitted(NamedTuple):
    """Heads at their optimum.

    Attributes:
      kernel: (r, d).
      bias: (r,).
      converged: (r,) False where the last step was still long, or where there is no finite optimum:
        one class alone among the samples that count, or C = ∞ and classes that a plane separates.
      iterations: (r,).
    """

    kernel: Float[np.ndarray, "*k r d"]
    bias: Float[np.ndarray, "*k r"]
    converged: Bool[np.ndarray, "*k r"]
    iterations: Int[np.ndarray, "*k r"]


class Basis(NamedTuple):
    """Features in coordinates that suit a solver: `x = features @ rotation` of centred features,
    and a column of ones.

    In the basis of their eigenvectors the Hessian is nearly diagonal, and its diagonal a good start
    for L-BFGS.
    """

    x: Float[np.ndarray, "n d1"]
    mean: Float[np.ndarray, " d"]
    rotation: Float[np.ndarray, "d d"] | None

    def inside(self, kernel: np.ndarray, bias: np.ndarray) -> Float[np.ndarray, "r d1"]:
        """Parameters in this basis."""
        turned = kernel if self.rotation is None else kernel @ self.rotation
        return np.concatenate([turned, (bias + kernel @ self.mean)[:, None]], 1)

    def outside(self, params: Float[np.ndarray, "r d1"]) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of the features themselves."""
        kernel = params[:, :-1] if self.rotation is None else params[:, :-1] @ self.rotation.T
        return kernel, params[:, -1] - kernel @ self.mean


@dataclasses.dataclass(frozen=True)
class Options:
    """How runs are fitted.

    Attributes:
      solver: `lbfgs`, `newton` (a Hessian and its Cholesky per run and step, on one device), or
        `auto`: L-BFGS, and Newton for the runs that it leaves unconverged, up to 1,024 features.
      tolerance: a run has converged where its next step is at most this fraction of its
        parameters, in 2-norm; float32 gets to about 1e-6.
      max_iterations: after which a run stops, and `converged` says so.
      memory_bytes: what a chunk of runs may take on each device, the features included.
      progress: whether to show a bar.
    """

    solver: str = "auto"
    tolerance: float = 1e-5
    max_iterations: int = 100
    memory_bytes: float = 2 * 2**30
    progress: bool = False


def fit(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "*#r n"],
    weights: Float[np.ndarray, "*#r n"] | None,
    c_r: Float[np.ndarray, " r"],
    *,
    start: Fitted | None = None,
    **options: Any,
) -> Fitted:
    """Fits r logistic regressions.

    Args:
      x: (n, d) features, shared by all runs.
      y: (n,) labels in {0, 1}, or (r, n).
      weights: (n,) or (r, n) weights of the samples, ≥ 0; None: all 1.
      c_r: (r,) scikit-learn's C, inverse of the penalty; ∞ for none.
      start: heads of these runs to begin with; None: zeros.
      **options: fields of `Options`.

    Returns:
      The heads. Each depends on its own C, weights, labels and start alone.

    Raises:
      UserError: the solver is unknown, shapes or values do not fit, or not even one run fits into
        memory.
    """
    c_r = np.atleast_1d(np.asarray(c_r, np.float32))
    return _Fitter.of(x, y, weights, c_r, Options(**options)).fit(c_r, start)


def path(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "*#r n"],
    weights: Float[np.ndarray, "*#r n"] | None,
    cs: Sequence[float],
    **options: Any,
) -> Fitted:
    """Fits r runs at each of k values of C, each beginning at the optimum of the next smaller C.

    Args:
      x: (n, d) features, shared by all runs.
      y: (n,) labels in {0, 1}, or (r, n).
      weights: (n,) or (r, n) weights of the samples, ≥ 0; None: all 1.
      cs: k values, in any order.
      **options: fields of `Options`.

    Returns:
      `Fitted` with a first axis for C, in the order of `cs`.

    Raises:
      UserError: as `fit`.
    """
    r = max(len(np.atleast_2d(y)), 1 if weights is None else len(np.atleast_2d(weights)))
    c_kr = np.repeat(np.asarray(cs, np.float32)[:, None], r, 1)
    fitter = _Fitter.of(x, y, weights, c_kr.max(0), Options(**options))
    fitted: dict[int, Fitted] = {}
    start = None
    for k in map(int, np.argsort(cs)):
        start = fitted[k] = fitter.fit(c_kr[k], start)
    return Fitted(*(np.stack(arrays) for arrays in zip(*(fitted[k] for k in range(len(c_kr))))))


class _Fitter(NamedTuple):
    """Checked data in a basis."""

    basis: Basis
    y: Float[np.ndarray, "#r n"]
    weights: Float[np.ndarray, "#r n"]
    options: Options

    @classmethod
    def of(cls, x, y, weights, c_r, options: Options) -> _Fitter:
        x = np.asarray(x, np.float32)
        weights = np.ones(len(x)) if weights is None else weights
        y, weights = (np.atleast_2d(np.asarray(array, np.float32)) for array in (y, weights))
        if options.solver not in SOLVERS:
            raise UserError(f"solver must be one of {SOLVERS}, not {options.solver!r}")
        for name, array in (("labels", y), ("weights", weights)):
            if array.shape not in ((1, len(x)), (len(c_r), len(x))):
                raise UserError(
                    f"{name} must be ({len(x)},) or ({len(c_r)}, {len(x)}), not {array.shape}"
                )
        if not (
            np.isin(y, (0, 1)).all()
            and np.isfinite(x).all()
            and (weights >= 0).all()
            and (c_r > 0).all()
        ):
            raise UserError(
                "a convex probe needs finite features, labels 0 and 1, weights ≥ 0 and C > 0"
            )
        return cls(_basis(x, options.solver == "newton"), y, weights, options)

    def fit(self, c_r: Float[np.ndarray, " r"], start: Fitted | None) -> Fitted:
        """Fits the runs, from `start` or from zeros."""
        n, d = self.basis.x.shape
        penalty = np.concatenate(
            [np.repeat(1 / c_r[:, None], d - 1, 1), np.zeros((len(c_r), 1), np.float32)], 1
        )
        params = (
            np.zeros((len(c_r), d), np.float32)
            if start is None
            else self.basis.inside(start.kernel, start.bias)
        )
        y, weights = (np.broadcast_to(array, (len(c_r), n)) for array in (self.y, self.weights))
        problem = Problem(self.basis.x, y, weights, penalty)
        optimum, converged, iterations = self._chunks(
            problem, params, newton=self.options.solver == "newton"
        )
        left = np.flatnonzero(~converged)
        if self.options.solver == "auto" and len(left) and d <= NEWTON_FEATURES + 1:
            problem = Problem(self.basis.x, y[left], weights[left], penalty[left])
            optimum[left], converged[left], more = self._chunks(problem, params[left], newton=True)
            iterations[left] += more
        return Fitted(*self.basis.outside(optimum), converged, iterations)

    def _chunks(
        self, problem: Problem, params: np.ndarray, *, newton: bool
    ) -> tuple[np.ndarray, ...]:
        """Parameters, convergence and iterations of all runs, in chunks of one shape; the last
        repeats its last run.
        """
        r, options = len(params), self.options
        n, d = self.basis.x.shape
        width, batch = _width(n, d, r, newton, options.memory_bytes)
        program = _program(newton, batch, options.tolerance, options.max_iterations)
        x = jnp.asarray(self.basis.x)
        parts = []
        with bar("convex probes", "run", r, show=options.progress) as shown:
            for first in range(0, r, width):
                rows = np.minimum(np.arange(first, first + width), r - 1)
                chunk = Problem(x, *(array[rows] for array in problem[1:]))
                real = min(width, r - first)
                parts.append([np.asarray(array)[:real] for array in program(chunk, params[rows])])
                shown.update(real)
        optimum, converged, iterations = (np.concatenate(arrays) for arrays in zip(*parts))
        return optimum, converged, iterations


def _basis(x: Float[np.ndarray, "n d"], newton: bool) -> Basis:
    """Centres the features, and for L-BFGS turns them to their eigenvectors."""
    mean = x.mean(0)
    centred = x - mean
    rotation = None
    if not newton and x.shape[1] <= ROTATED_FEATURES:
        rotation = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1].astype(np.float32)
        centred = centred @ rotation
    return Basis(np.concatenate([centred, np.ones((len(x), 1), np.float32)], 1), mean, rotation)


def _width(n: int, d: int, runs: int, newton: bool, memory_bytes: float) -> tuple[int, int]:
    """Runs per chunk, over all devices, and Hessians at once on each.

    Raises:
      UserError: not even one run fits.
    """
    devices = len(_devices(newton))
    fixed = 3 * n * d * FLOAT_BYTES
    per_run = (
        SAMPLE_COPIES * n + (PARAMETER_COPIES + 2 * HISTORY * (not newton)) * d
    ) * FLOAT_BYTES
    per_hessian = newton * (n * d + 3 * d * d) * FLOAT_BYTES
    local = -(-runs // devices)
    batch = 1
    while (
        newton
        and 2 * batch <= min(NEWTON_BATCH, local)
        and 2 * batch * (per_hessian + per_run) + fixed <= memory_bytes
    ):
        batch *= 2
    fit = int((memory_bytes - fixed - batch * per_hessian) // (per_run * batch)) * batch
    if fit < 1:
        raise UserError(
            f"{n} × {d} features take {fixed / 2**30:.1f} GiB and a run "
            f"{(per_run + per_hessian) / 2**30:.2f} GiB: more than the "
            f"{memory_bytes / 2**30:g} GiB of memory_bytes"
        )
    return min(fit, -(-local // batch) * batch) * devices, batch


def _devices(newton: bool) -> list[jax.Device]:
    """Devices that runs are sharded over: LAPACK's Cholesky, called from two CPU devices at once,
    may never return.
    """
    return jax.local_devices()[: 1 if newton else None]


@functools.cache
def _program(newton: bool, batch: int, tolerance: float, max_iterations: int):
    """The compiled fit of one chunk, sharded over the local devices along `runs`: nothing is
    exchanged between them.
    """

    def solve(problem: Problem, start: Array) -> tuple[Array, Array, Array]:
        end = minimise(
            problem,
            start,
            newton=newton,
            batch=batch,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )
        return end.params, end.converged & _has_optimum(problem, end.logits), end.iterations

    runs, whole = PartitionSpec("runs"), PartitionSpec()
    mesh = Mesh(np.asarray(_devices(newton)), ("runs",))
    return jax.jit(
        jax.shard_map(
            solve,
            mesh=mesh,
            in_specs=(Problem(whole, runs, runs, runs), runs),
            out_specs=runs,
            check_vma=False,
        )
    )


def _has_optimum(problem: Problem, logits: Float[Array, "r n"]) -> Bool[Array, " r"]:
    """Whether both classes count and, without a penalty, some sample is on the wrong side."""
    counts = problem.weights > 0
    both = jnp.any(counts & (problem.y == 1), 1) & jnp.any(counts & (problem.y == 0), 1)
    wrong = jnp.any(counts & ((2 * problem.y - 1) * logits <= 0), 1)
    return both & (wrong | (problem.penalty[:, 0] > 0))
