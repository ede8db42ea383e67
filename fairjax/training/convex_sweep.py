"""A sweep of convex probes: the optimum of the loss that a linear probe descends, by Newton or L-BFGS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from fairjax.errors import UserError
from fairjax.training import convex, probe, store
from fairjax.training.objectives import parse
from fairjax.training.objectives.losses import log_loss
from fairjax.training.objectives.weighting import inverse_frequency
from fairjax.training.program import ProbeConfig, Program, stack_rates
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features, Groups, Trainer, fill, keyed, make_data, make_program

WIDTH = 256  # runs per chunk
METHODS = ("erm", "reweighting", "reweighting_class")  # those whose loss is convex: a weighted mean


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
    share: tuple[int, int] = (0, 1),
    show_progress: bool = True,
) -> Sweep:
    """Fits every run that is not on disk yet.

    A run has the head with the least Σ w ℓ / Σ w + (weight decay) |kernel|² / 2 on the training split: that of full
    batches and endless training. The learning rate does not count; the seed does where `config.resample` is "patients".

    Args:
      features, runs, folder, groups, seed, memory_bytes, share, show_progress: as of `fairjax.training.sweep.sweep`.
      config: of which `standardize`, `class_weight` and `resample` count.
      method: of `METHODS`.

    Raises:
      UserError: the loss of the method is not convex, or not even one run fits into memory.
    """
    if method not in METHODS:
        raise UserError(f"a convex probe has no method {method!r}; there are: {', '.join(METHODS)}")
    program = make_program(config, method, "linear", groups)
    folder = keyed(folder, features, config, method, "convex", groups, seed)

    def trainer() -> Trainer:
        data, x_test = make_data(features, program, groups)
        x = np.asarray(data.x)

        def train(part: list[Run], bar: tqdm) -> store.Arrays:
            weights = np.asarray(_weights(jax.random.key(seed), program, data, part))
            decays = np.array([run.weight_decay for run in part], np.float64)
            with np.errstate(divide="ignore"):
                c = 1 / (weights.sum(1) * decays)
            fitted = convex.fit(x, np.asarray(data.y), weights, c, memory_bytes=memory_bytes)
            bar.update(len(part))
            return _arrays(fitted, data, x_test)

        return train

    return fill(folder, runs, WIDTH, trainer, f"fitting {method}", share, show_progress)


def _weights(key: jax.Array, program: Program, data: probe.ProbeData, runs: list[Run]) -> Float[jax.Array, "r n"]:
    """What each training sample weighs in each run."""
    rates = stack_rates(runs)
    weights = probe.resampled_counts(key, program.config, data, rates) * data.weights
    if parse(program.method.name).objective.sample_weights is not None:
        cells = probe.cells_of(program.method.objective.cells, data)
        weights = weights * inverse_frequency(key, cells, rates.strength)
    return jnp.broadcast_to(weights, (len(runs), len(data.y)))


def _arrays(fitted: convex.Fitted, data: probe.ProbeData, x_test: Float[np.ndarray, "n d"]) -> store.Arrays:
    def logits(x: np.ndarray) -> np.ndarray:
        return fitted.kernel @ x.T + fitted.bias[:, None]

    validation = jnp.asarray(logits(np.asarray(data.x_validation)))
    return {
        "kernel": fitted.kernel,
        "bias": fitted.bias,
        "converged": fitted.converged,
        "validation_scores": np.asarray(jax.nn.sigmoid(validation)),
        "test_scores": np.asarray(jax.nn.sigmoid(logits(x_test))),
        "validation_loss": np.asarray(log_loss(validation, data.y_validation).mean(-1)),
        "best_epoch": fitted.iterations.astype(np.int32),
    }
