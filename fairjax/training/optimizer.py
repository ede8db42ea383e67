"""AdamW of many runs, its schedule, and what a run holds in memory: heads and mask decoders share
them.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import optax
from jaxtyping import Array, Float

from fairjax.training.averaging import per_run

ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
FLOAT_BYTES = 4
# parameters, two moments, best, gradient, direction and the two updated: what a run holds of what
# it trains
RUN_COPIES = 8


@runtime_checkable
class Schedule(Protocol):
    """Settings of a schedule: epochs in all, of warm-up, and the last rate over the peak."""

    @property
    def epochs(self) -> int: ...  # noqa: D102

    @property
    def warmup_epochs(self) -> int: ...  # noqa: D102

    @property
    def final_lr_fraction(self) -> float: ...  # noqa: D102


def schedule(config: Schedule, steps: int) -> optax.Schedule:
    """Gives the fraction of a run's peak rate at each step: a linear warm-up, then a cosine.

    Args:
      config: settings of the schedule.
      steps: steps of an epoch.
    """
    warmup, total = config.warmup_epochs * steps, config.epochs * steps
    return optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, total, config.final_lr_fraction)


def adamw(
    gradient: Any,
    moments: optax.OptState,
    params: Any,
    rate: Float[Array, "*r"],
    weight_decay: Float[Array, "*r"],
) -> tuple[Any, optax.OptState]:
    """Takes one step of AdamW, with decoupled weight decay.

    Args:
      gradient: arrays whose first axis is the run, or of one run.
      moments: state of `ADAM`.
      params: arrays like those of `gradient`.
      rate: learning rate of each run, (r,), or of the one run, ().
      weight_decay: likewise.

    Returns:
      The parameters and moments after the step.
    """
    direction, moments = ADAM.update(gradient, moments, params)
    return jax.tree.map(
        lambda p, u: p - per_run(rate, p) * (u + per_run(weight_decay, p) * p), params, direction
    ), moments
