"""Could the gap between groups be chance? The p-value of a permutation test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from fairjax.metrics.disparity import gap
from fairjax.metrics.subgroups import Subgroups
from fairjax.statistics.replicates import Draws, plan_chunks, replicate_values
from fairjax.statistics.schemes import Permutation

MAX_GROUPS = 64  # every permutation evaluates each group apart
_ROUNDING = 1e-6  # gaps that differ by less are equal: they are differences of float32 numbers


def gap_p_values(
    scores: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " n"],
    *,
    thresholds: Float[np.ndarray, " r"],
    patients: Int[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    metrics: Sequence[str],
    n_permutations: int,
    seed: int,
    memory_bytes: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Float[np.ndarray, "m r"]:
    """p-values of max − min over groups, if groups are shuffled over patients within label.

    Shuffling within label keeps each group's prevalence: what is tested is whether the scores of
    people of the same label depend on the group. Bins of equal mass are those of all groups
    together.

    Args:
      scores: (R, n) finite.
      labels: (n,) in {0, 1}.
      codes: (n,) group from 0, without holes; -1 for samples that take no part.
      thresholds: (R,).
      patients: (n,) patients; one with samples in several groups is several.
      weights: (n,) sample weights.
      metrics: names (M).
      n_permutations: p.
      seed: seed of the permutations.
      memory_bytes: bound on the temporaries of one step; None: by the kind of device.
      advance: called with the number of columns × runs that were finished since the last call.

    Returns:
      (M, R) fractions (1 + #{gap* ≥ gap}) / (1 + P); NaN where there is no gap, or more than
      `MAX_GROUPS` groups.

    Source: Phipson & Smyth 2010, Permutation p-values should never be zero.
    """
    n_groups = int(codes.max(initial=-1)) + 1
    if not 2 <= n_groups <= MAX_GROUPS:
        return np.full((len(metrics), len(scores)), np.nan)
    subgroups = Subgroups.build(labels, (codes >= 0)[None])
    columns = (n_permutations + 1) * n_groups  # the first permutation is the sample
    draws = [Draws(Permutation.build(codes, labels, patients), columns)]
    chunks = plan_chunks(subgroups.n_entries, len(scores), columns, memory_bytes)
    values = replicate_values(
        subgroups,
        scores,
        thresholds,
        draws,
        weights=weights,
        metrics=tuple(metrics),
        seed=seed,
        chunks=chunks,
        advance=advance,
    )
    of_runs = np.concatenate([drawn for (drawn,) in values], axis=2)[:, 0]  # (M, R, (P + 1) · G)
    gaps = gap(np.moveaxis(of_runs.reshape(*of_runs.shape[:2], -1, n_groups), -1, 0))
    observed, permuted = gaps[..., :1], gaps[..., 1:]
    reached = ~(permuted < observed - _ROUNDING)  # an undefined gap counts against
    return np.where(
        np.isnan(observed[..., 0]), np.nan, (1 + reached.sum(-1)) / (1 + n_permutations)
    )
