"""Values averaged over seeds, and differences paired by seed, with intervals over patients and
seeds.

A method is trained from several seeds and measured on one sample of patients, so its mean value is
uncertain twice. The patients' part is the bootstrap: every run has the same draws, a method's
replicate is the mean of its runs' replicates, and in a difference to the baseline what the runs of
one seed and one draw share cancels. The seeds' part is not resampled, for there are few of them,
and a bootstrap of S values has a variance too small by (S − 1) / S and tails that end at the
extreme seeds. It is added to every replicate as s / √S · t: s is the standard deviation over seeds
of the value (in a difference, of the differences of equal seeds), t an independent draw of
Student's t with S − 1 degrees of freedom. So the replicates are the Behrens-Fisher distribution of
the mean: from two seeds on the intervals cover (cautiously: what patients and seeds do together is
in both parts), and with one seed they are those of `evaluate_runs`, over patients alone, which
`n_seeds` says.

Source: Fisher 1935, The fiducial argument in statistical inference (two uncertain parts of one
mean); Owen 2007, The pigeonhole bootstrap (why resampling rows and columns of a crossed array
overstates what they do together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

from fairjax.metrics.disparity import DISPARITIES, gap
from fairjax.metrics.table import METRICS
from fairjax.statistics import intervals
from fairjax.statistics.estimates import Values, simple
from fairjax.statistics.evaluation import Evaluation
from fairjax.statistics.rows import SUBGROUP, Row, applies

Key = tuple[str, str, str]  # usage, method, and the attribute that it uses
SUMMARIES = {
    "gap": gap,
    "worst": lambda errors: np.abs(errors).max(0),
}  # how far the groups' errors can move each


class Run(NamedTuple):
    """One run: metrics (M), rows (K), replicates (B); NaN where a row has no number.

    Attributes:
      sample: on the sample.
      replicates: its value in each replicate of the bootstrap.
      errors: how far the replicates' errors can move a gap or a worst group, of the rows that are
        one; else 0.
      fault: why there is no number at all, or nothing.
    """

    sample: Float[np.ndarray, "m k"]
    replicates: Float[np.ndarray, "m k b"]
    errors: Float[np.ndarray, "m k b"]
    fault: str


@dataclass(eq=False)
class Mean:
    """Runs of one method, averaged over seeds as they come.

    Attributes:
      key: the method.
      missing: the runs that are to come, by seed.
      n_seeds: all of them.
      samples: (M, K) of every run that came, by seed.
      replicates, errors: (M, K, B) means of those of `Run`.
      fault: why a run has no numbers.
    """

    key: Key
    missing: dict[int, str]
    n_seeds: int
    samples: dict[int, np.ndarray] = field(default_factory=dict)
    replicates: np.ndarray | float = 0.0
    errors: np.ndarray | float = 0.0
    fault: str = ""

    def wants(self, key: Key, seed: int) -> bool:
        """Whether a run belongs to the mean and is not in it."""
        return key == self.key and seed in self.missing

    def add(self, seed: int, run: Run) -> None:
        """Takes a run in."""
        del self.missing[seed]
        self.samples[seed] = run.sample
        self.replicates = self.replicates + run.replicates / np.float32(self.n_seeds)
        self.errors = self.errors + run.errors / np.float32(self.n_seeds)
        self.fault = self.fault or run.fault


def measured(values: Values, rows: Sequence[Row], metrics: Sequence[str], fault: str = "") -> Run:
    """Makes the rows of one run of the values of its subgroups.

    Args:
      values: values of one run: (M, C) and (M, C, B).
      rows: subgroups, and the rows in `SUMMARIES`.
      metrics: names.
      fault: why the run has no numbers.
    """
    shape = len(metrics), len(rows)
    sample, replicates = (
        np.full(shape, np.nan),
        np.full((*shape, values.bootstrap.shape[-1]), np.nan, np.float32),
    )
    errors = np.zeros_like(replicates)
    for k, row in enumerate(rows):
        if row.kind == SUBGROUP and row.subgroups:
            sample[:, k], replicates[:, k] = (
                values.sample[:, row.subgroups[0]],
                values.bootstrap[:, row.subgroups[0]],
            )
            continue
        for m, metric in enumerate(metrics):
            if row.subgroups and applies(row, metric):
                groups, of_groups = (
                    values.sample[m, list(row.subgroups)],
                    values.bootstrap[m, list(row.subgroups)],
                )
                value, everybody = (
                    DISPARITIES[row.kind].value,
                    (values.sample[m, row.overall], values.bootstrap[m, row.overall]),
                )
                sample[m, k] = value(groups, everybody[0], METRICS[metric])
                replicates[m, k] = value(of_groups, everybody[1], METRICS[metric])
                errors[m, k] = SUMMARIES[row.kind](of_groups - groups[:, None])
    return Run(sample, replicates, errors, fault)


def averaged(
    mean: Mean, rows: Sequence[Row], evaluation: Evaluation
) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """Values over seeds and the ends of their intervals.

    The interval of a subgroup is of percentiles; that of a gap or a worst group is the value ± a
    quantile of what patients and seeds add to it, as in `fairjax.statistics.intervals.spread` and
    `extreme`.
    """
    by_seed = np.stack(list(mean.samples.values()))
    value, of_seeds = by_seed.mean(0), _of_seeds(by_seed, evaluation)
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    replicates = np.asarray(mean.replicates + of_seeds)
    (reach,) = intervals.quantiles(np.abs(mean.errors + of_seeds), (_level(rows, evaluation),))
    subgroups = [k for k, row in enumerate(rows) if row.kind == SUBGROUP]
    others = [k for k, row in enumerate(rows) if row.kind != SUBGROUP]
    for m, name in enumerate(evaluation.metrics):
        bounds = METRICS[name].bounds
        of_subgroups = Values(value[m][None, subgroups, None], replicates[m][None, subgroups, None])
        ends = simple(of_subgroups, evaluation.confidence, [rows[k] for k in subgroups], bounds)[
            1:3
        ]
        low[m, subgroups], high[m, subgroups] = (end[:, 0] for end in ends)
        for k in others:
            both = value[m, k] - reach[m, k], value[m, k] + reach[m, k]
            low[m, k], high[m, k] = np.clip(both, *DISPARITIES[rows[k].kind].bounds(bounds))
    return value, low, high


def differences(
    paired: Mean, base: Mean, rows: Sequence[Row], evaluation: Evaluation
) -> tuple[
    Float[np.ndarray, "m k"],
    Float[np.ndarray, "m k"],
    Float[np.ndarray, "m k"],
    Float[np.ndarray, "m k"],
]:
    """Differences between two methods over the same seeds, the ends of their intervals, and
    p-values.

    Intervals are percentiles of the paired replicates. Those of a gap or a worst group, which
    resampling shifts, are moved to the difference first.
    """
    by_seed = np.stack([sample - base.samples[seed] for seed, sample in paired.samples.items()])
    difference, replicates = by_seed.mean(0), np.asarray(paired.replicates - base.replicates)
    shifted = [k for k, row in enumerate(rows) if row.kind != SUBGROUP]
    replicates[:, shifted] = intervals.centre(difference[:, shifted], replicates[:, shifted])
    replicates = replicates + _of_seeds(by_seed, evaluation)
    low, high = Values(difference, replicates).interval(_level(rows, evaluation))
    return difference, low, high, intervals.p_value(replicates)


def _of_seeds(
    by_seed: Float[np.ndarray, "s m k"], evaluation: Evaluation
) -> Float[np.ndarray, "m k b"]:
    """The seeds' part of every replicate: s / √S times quantiles of Student's t in random order; of
    one seed, 0.
    """
    n_seeds, n_boot = len(by_seed), evaluation.n_boot
    if n_seeds == 1:
        return np.zeros((*by_seed.shape[1:], n_boot), np.float32)
    order = np.random.default_rng([evaluation.seed, n_seeds]).permutation(n_boot)
    t = special.stdtrit(n_seeds - 1, (order + 0.5) / n_boot)
    return (by_seed.std(0, ddof=1) / np.sqrt(n_seeds))[..., None].astype(np.float32) * t.astype(
        np.float32
    )


def _level(rows: Sequence[Row], evaluation: Evaluation) -> Float[np.ndarray, " k"]:
    return intervals.expanded(evaluation.confidence, np.array([row.n_patients for row in rows]))
