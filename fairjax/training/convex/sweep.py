"""A sweep of convex probes: the optimum of the loss that a linear probe descends, by Newton or
L-BFGS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fairjax.training import probe, store
from fairjax.training.convex import fit
from fairjax.training.engine import Plan, Trainer
from fairjax.training.objectives import METHODS
from fairjax.training.objectives.losses import log_loss
from fairjax.training.objectives.weighting import inverse_frequency
from fairjax.training.program import ProbeConfig, ProbeData, TrainSpec, stack_hyperparams
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.training.sweep import (
    Features,
    Groups,
    fill,
    identity_of,
    make_program,
    prepared,
    probe_data,
)
from fairjax.utils.errors import UserError

WIDTH = 256  # runs per chunk


def sweep(
    features: Features,
    runs: Sequence[Run],
    config: ProbeConfig,
    folder: Path,
    *,
    method: str = "erm",
    groups: Groups | None = None,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> Sweep:
    """Fits every run that is not on disk yet.

    A run has the head with the least Σ w ℓ / Σ w + (weight decay) |kernel|² / 2 on the training
    split: that of full batches and endless training. The learning rate does not count; the seed
    does where `config.resample` is "patients".

    Args:
      features: as in `fairjax.training.sweep.sweep`.
      runs: what to train.
      config: settings, of which `standardize`, `class_weight` and `resample` count.
      folder: where chunks are kept.
      method: a convex one of `objectives.METHODS`, without wrappers.
      groups: groups of the training samples, for methods that use them.
      seed: seed of the experiment.
      memory_bytes: budget per device.
      shard: (index, count) of the process.
      progress: whether to show a bar.

    Raises:
      UserError: the loss of the method is not convex, or not even one run fits into memory.
    """
    spec = check(config, method, groups)
    identity = identity_of(features, spec, groups, seed) | {"head": "convex"}
    return fill(
        folder,
        identity,
        runs,
        Plan(runs, WIDTH, 0, 0.0),
        lambda: ConvexTrainer(features, spec, groups, seed, memory_bytes),
        what=f"fitting {method}",
        shard=shard,
        progress=progress,
    )


def check(config: ProbeConfig, method: str, groups: Groups | None) -> TrainSpec:
    """The program of a method whose loss is fit.

    Raises:
      UserError: it is not.
    """
    names = [name for name, row in METHODS.items() if row.convex]
    if method not in names:
        raise UserError(f"a convex probe has no method {method!r}; there are: {', '.join(names)}")
    return make_program(config, method, "linear", groups)


class ConvexTrainer(Trainer):
    """Fits chunks of runs."""

    def __init__(
        self,
        features: Features,
        spec: TrainSpec,
        groups: Groups | None,
        seed: int,
        memory_bytes: float,
    ):
        features = prepared(features, spec)
        self.spec, self.key, self.memory_bytes = spec, jax.random.key(seed), memory_bytes
        self.data, self.x = probe_data(features, spec, groups), features.x

    def train(self, runs: list[Run], width: int, advance: Callable[[float], Any]) -> store.Arrays:
        """Fits some runs; each by itself, so that the width does not matter."""
        weights = np.asarray(_weights(self.key, self.spec, self.data, runs))
        decays = np.array([run.weight_decay for run in runs], np.float64)
        with np.errstate(divide="ignore"):
            c = 1 / (weights.sum(1) * decays)
        y = np.asarray(self.data.y)
        fitted = fit.fit(self.x["train"], y, weights, c, memory_bytes=self.memory_bytes)
        advance(len(runs))
        validation, test = (self._logits(fitted, split) for split in ("validation", "test"))
        return {
            "kernel": fitted.kernel,
            "bias": fitted.bias,
            "converged": fitted.converged,
            "validation_scores": np.asarray(jax.nn.sigmoid(validation)),
            "test_scores": np.asarray(jax.nn.sigmoid(test)),
            "validation_loss": np.asarray(log_loss(validation, self.data.y_validation).mean(-1)),
            "best_epoch": fitted.iterations.astype(np.int32),
        }

    def _logits(self, fitted: fit.Fitted, split: str) -> Float[jax.Array, "r n"]:
        return jnp.asarray(fitted.kernel @ self.x[split].T + fitted.bias[:, None])


def _weights(
    key: jax.Array, spec: TrainSpec, data: ProbeData, runs: list[Run]
) -> Float[jax.Array, "r n"]:
    """What each training sample weighs in each run."""
    hyperparams = stack_hyperparams(runs)
    weights = probe.resampled_counts(key, spec.config, data, hyperparams) * data.weights
    if spec.method.objective.sample_weights is not None:
        cells = probe.cells_of(spec.method.objective.cells, data)
        weights = weights * inverse_frequency(key, cells, hyperparams.strength)
    return jnp.broadcast_to(weights, (len(runs), len(data.y)))
