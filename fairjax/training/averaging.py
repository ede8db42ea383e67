"""Averages of the weights that training passes through, kept per run: SWA and SWAD.

Either needs the weights of every step or epoch, but keeps only running sums of them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Tree = Any  # of arrays whose first axis is the run
Average = dict[str, Any]

SWA_FROM = 0.75  # fraction of the epochs after which SWA begins
CONVERGENCE, OVERFITTING = (
    3,
    6,
)  # SWAD's N_s and N_e: validations that decide where the average begins and ends
TOLERANCE = 1.3  # SWAD's r: the loss that ends the average, over that where it began
COPIES = {"": 0, "swa": 1, "swad": OVERFITTING + 4}  # of the parameters that are held


def init(kind: str, params: Tree) -> Average:
    """Sums at 0.

    Args:
      kind: "", "swa" or "swad".
      params: parameters of the heads, for their shapes.
    """
    runs = len(jax.tree.leaves(params)[0])
    zeros = jax.tree.map(jnp.zeros_like, params)
    count = jnp.zeros(runs)
    if kind == "swa":
        return {"sum": zeros, "count": count}
    if kind == "swad":
        ring = jax.tree.map(
            lambda a: jnp.zeros((a.shape[0], OVERFITTING + 1, *a.shape[1:])), params
        )
        return {
            "sum": zeros,  # of all steps so far
            "count": count,
            "ring": ring,  # the sums after the latest validations, the newest last
            "counts": jnp.zeros((runs, OVERFITTING + 1)),
            "losses": jnp.full((runs, OVERFITTING + 1), jnp.inf),
            "begin": zeros,
            "begin_count": count,
            "end": zeros,
            "end_count": count,
            "limit": jnp.full(runs, jnp.inf),
            "stage": jnp.zeros(runs, jnp.int32),  # 0: not converged, 1: averaging, 2: over
        }
    return {}


def add_step(kind: str, average: Average, params: Tree) -> Average:
    """After a training step: SWAD averages densely."""
    if kind != "swad":
        return average
    return average | {
        "sum": jax.tree.map(jnp.add, average["sum"], params),
        "count": average["count"] + 1,
    }


def add_epoch(
    kind: str,
    average: Average,
    params: Tree,
    loss: Float[Array, " r"],
    epoch: Int[Array, ""],
    epochs: int,
) -> Average:
    """After an epoch with its validation loss (r,): SWA takes its weights, SWAD looks whether to
    begin or end.

    SWAD begins at the first validation that is the best of the `CONVERGENCE` from it on, and ends
    before the `OVERFITTING` that are all worse than `TOLERANCE` times the mean of those.

    Source: Cha et al. 2021, SWAD, algorithm 1; Izmailov et al. 2018, Averaging weights leads to
    wider optima.
    """
    if kind == "swa":
        counts = (epoch >= int(SWA_FROM * epochs)).astype(jnp.float32)
        added = jax.tree.map(lambda total, p: total + counts * p, average["sum"], params)
        return {"sum": added, "count": average["count"] + counts}
    if kind != "swad":
        return average
    ring = jax.tree.map(
        lambda a, total: jnp.concatenate([a[:, 1:], total[:, None]], 1),
        average["ring"],
        average["sum"],
    )
    counts = jnp.concatenate([average["counts"][:, 1:], average["count"][:, None]], 1)
    losses = jnp.concatenate([average["losses"][:, 1:], loss[:, None]], 1)
    recent = losses[:, -CONVERGENCE:]
    converged = (
        (average["stage"] == 0) & jnp.isfinite(recent).all(1) & (recent[:, 0] <= recent.min(1))
    )
    limit = jnp.where(converged, TOLERANCE * recent.mean(1), average["limit"])
    begin, begin_count = (
        _where(converged, jax.tree.map(lambda a: a[:, -CONVERGENCE], new), old)
        for new, old in ((ring, average["begin"]), (counts, average["begin_count"]))
    )
    enough = counts[:, 0] > average["begin_count"]
    over = (average["stage"] == 1) & enough & (losses[:, 1:].min(1) > limit)
    end, end_count = (
        _where(over, jax.tree.map(lambda a: a[:, 0], new), old)
        for new, old in ((ring, average["end"]), (counts, average["end_count"]))
    )
    stage = jnp.where(converged, 1, jnp.where(over, 2, average["stage"]))
    parts = {"begin": begin, "begin_count": begin_count, "end": end, "end_count": end_count}
    return (
        average
        | parts
        | {"ring": ring, "counts": counts, "losses": losses, "limit": limit, "stage": stage}
    )


def result(kind: str, average: Average, params: Tree) -> Tree:
    """The averaged weights; of a run that SWAD never saw converge, the average of the last
    `CONVERGENCE` epochs.
    """
    if kind == "swa":
        return _divide(average["sum"], average["count"])
    if kind != "swad":
        return params
    stage = average["stage"]
    late = (
        jax.tree.map(lambda a: a[:, -CONVERGENCE - 1], average["ring"]),
        average["counts"][:, -CONVERGENCE - 1],
    )
    begin = _where(stage == 0, late[0], average["begin"])
    begin_count = jnp.where(stage == 0, late[1], average["begin_count"])
    end = _where(stage == 2, average["end"], average["sum"])
    end_count = jnp.where(stage == 2, average["end_count"], average["count"])
    return _divide(jax.tree.map(jnp.subtract, end, begin), end_count - begin_count)


def _where(condition: Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(per_run(condition, a), a, b), new, old)


def _divide(total: Tree, count: Float[Array, " r"]) -> Tree:
    return jax.tree.map(lambda a: a / per_run(count, a), total)


def per_run(vector: Array, like: Array) -> Array:
    """(r,) with as many trailing axes of length 1 as `like` has."""
    return vector.reshape(-1, *[1] * (like.ndim - 1))
