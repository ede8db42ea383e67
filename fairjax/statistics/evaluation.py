"""Every metric with its interval, of every run, attribute and group: the table of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from fairjax.metrics import table
from fairjax.metrics.disparity import CORE, CRITERION
from fairjax.metrics.subgroups import Subgroups
from fairjax.statistics import intervals, rows
from fairjax.statistics.bootstrap import Resampling
from fairjax.statistics.estimates import Estimates, Values, criteria, criteria_of, estimate
from fairjax.statistics.permutation import gap_p_values
from fairjax.statistics.replicates import Draws, plan_chunks, replicate_values, sample_values
from fairjax.statistics.rows import ALL, CLASSES, NO_CLASSES, OK, SUBGROUP, Attribute, Row, RowPlan
from fairjax.statistics.schemes import Jackknife
from fairjax.utils.errors import UserError, lookup

INTERVALS = ("percentile", "bca")
_ENTRIES_AT_ONCE = (
    2**20
)  # of subgroups that are evaluated together: what bounds the memory for many samples
Columns = dict[str, np.ndarray]


def evaluate_runs(
    scores: Float[np.ndarray, "*r n"],
    labels: Int[np.ndarray, " n"] | None,
    attributes: Mapping[str, Attribute],
    thresholds: Float[np.ndarray, " r"] | float,
    patients: Shaped[np.ndarray, " n"] | None = None,
    **options: Any,
) -> Columns:
    """Evaluates runs that scored the same samples, with bootstrap intervals over patients, the same
    draws for every run.

    A run's numbers do not depend on the other runs, nor on how the work is cut into chunks. Values
    on the sample are computed in float64, replicates in float32.

    Args:
      scores: (R, n) probabilities of the positive class. A run with scores that are not finite gets
        NaN and a status.
      labels: (n,) in {0, 1}; None: `scores` are values that need none, such as a Dice of each
        image.
      attributes: name → (codes (n,), names): the group of each sample as index into names, -1 where
        it is not known.
      thresholds: (R,) or one for all; the prediction is s ≥ threshold. See
        `fairjax.metrics.threshold`.
      patients: (n,) the patient of each sample; None: every sample is one.
      **options: keyword arguments of `Evaluation`.

    Returns:
      Columns of equal length, one row for each run, metric, attribute and group: `run` (index),
        `attribute`, `metric`,
      `group`, `value`, `ci_low`, `ci_high`, `n`, `n_positive` (samples), `status` (`ok`, or what is
      missing and why) and `n_invalid` (replicates in which the value is undefined). Attribute `all`
      has the group `overall`; every other has `overall` (where the attribute is known), its groups,
      the rows of `fairjax.metrics.disparity.DISPARITIES`, and differences `a − b`; and, if asked
      for, a row of the group `criterion` for each of `CRITERIA`. Intervals of disparities are named
      in their table.

    Raises:
      UserError: the input is not what it should be.
    """
    return Evaluation(labels, attributes, np.shape(scores)[-1], patients, **options).evaluate(
        scores, thresholds
    )


class Evaluation:
    """Who is compared with whom, and how sure one can be: all of an evaluation but the scores.

    Args:
      labels: (n,) in {0, 1}; None: values without classes.
      attributes: name → (codes (n,), names of groups).
      patients: (n,) identity of each sample's patient; None: every sample is one.
      n: samples.
      weights: (n,) sample weights, multiplied with the multiplicities of the bootstrap; None: 1.
      strata: (n,) codes within which patients are drawn; None: all together.
      metrics: names from `fairjax.metrics.table.METRICS`.
      n_boot: replicates; 0 gives no intervals.
      seed: seed of the draws.
      confidence: level of the intervals.
      interval: `percentile` or `bca`, of groups and differences.
      disparities: names from `fairjax.metrics.disparity.DISPARITIES`.
      with_criteria: whether rows of `CRITERIA` are added.
      min_group: fewest patients with either label for a group to have numbers.
      memory_bytes: bound on the temporaries of one step, next to the inputs and the replicates'
        values of a few runs; None: by the kind of device.
      edges: `(scores (n,), members (n,)) -> (9,)`, edges of the bins of the calibration error of a
        run in a subgroup; None: equal widths on [0, 1].
      progress: called with the number of runs that were finished since the last call.

    Attributes:
      advance: if set, called with the number of replicates × runs that were finished since the last
        call.

    Raises:
      UserError: the input is not what it should be.
    """

    def __init__(
        self,
        labels: Int[np.ndarray, " n"] | None,
        attributes: Mapping[str, Attribute],
        n: int,
        patients: Shaped[np.ndarray, " n"] | None = None,
        *,
        weights: Float[np.ndarray, " n"] | None = None,
        strata: Int[np.ndarray, " n"] | None = None,
        metrics: Sequence[str] = table.DEFAULT,
        n_boot: int = 2000,
        seed: int = 0,
        confidence: float = 0.95,
        interval: str = "percentile",
        disparities: Sequence[str] = CORE,
        with_criteria: bool = False,
        min_group: int = 5,
        memory_bytes: int | None = None,
        edges: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        progress: Callable[[int], object] | None = None,
    ):
        self.labelled = labels is not None
        self.labels = np.zeros(n, np.int64) if labels is None else np.asarray(labels)
        self.attributes, self.metrics, self.edges = attributes, tuple(metrics), edges
        self.n_boot, self.seed, self.confidence = n_boot, seed, confidence
        self.with_criteria, self.memory_bytes, self.progress = with_criteria, memory_bytes, progress
        self.advance: Callable[[int], object] | None = None
        lookup("interval", interval, dict.fromkeys(INTERVALS))
        _check(n, self.labels, attributes, self.metrics)
        self.resampling = Resampling.build(n, patients, strata)
        self.patients = np.asarray(self.resampling.patient)
        self.jackknife = Jackknife.build(self.patients) if interval == "bca" and n_boot else None
        classes = CLASSES if self.labelled else NO_CLASSES
        self.plan = RowPlan.build(
            self.labels, attributes, self.patients, min_group, disparities, classes
        )
        self.batches = _batches([int(member.sum()) for member in self.plan.members])
        self.subgroups = [
            Subgroups.build(self.labels, np.stack(self.plan.members[batch]))
            for batch in self.batches
        ]
        self.weights = (
            np.ones(n, np.float32) if weights is None else np.asarray(weights, np.float32)
        )

    @property
    def n_columns(self) -> int:
        """Replicates of the bootstrap and of the jackknife that each run takes, in every batch of
        subgroups.
        """
        return len(self.batches) * (
            self.n_boot + (self.jackknife.n_blocks if self.jackknife else 0)
        )

    def evaluate(
        self, scores: Float[np.ndarray, "*r n"], thresholds: Float[np.ndarray, " r"] | float
    ) -> Columns:
        """Evaluates runs; see `evaluate_runs`."""
        return self.evaluate_and_compare(scores, thresholds, [])[0]

    def evaluate_and_compare(
        self,
        scores: Float[np.ndarray, "*r n"],
        thresholds: Float[np.ndarray, " r"] | float,
        pairs: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[Columns, Columns]:
        """Evaluates runs, and the differences between them on the same draws.

        Args:
          scores: (R, n), as in `evaluate_runs`.
          thresholds: (R,) or one for all.
          pairs: runs (a, b) to compare; None: each with every other.

        Returns:
          The columns of `evaluate_runs`; and columns `a`, `b` (runs), `attribute`, `metric`,
          `group` (overall or a group), `value` (a − b), `ci_low`, `ci_high`, `p_value` (two-sided,
          of the bootstrap: twice the share of differences on the other side of 0), `n`,
          `n_positive`, `status` and `n_invalid`.
        """
        scores = np.atleast_2d(scores)
        thresholds = np.broadcast_to(np.asarray(thresholds, scores.dtype), scores.shape[:1])
        pairs = list(combinations(range(len(scores)), 2)) if pairs is None else pairs
        finite = is_finite(scores, thresholds)
        kept: list[Values] = []
        estimates, of_criteria = [], []
        for values in self.values(scores, thresholds):
            estimates.append(estimate(self.plan, self.metrics, values, self.confidence))
            if self.with_criteria:
                of_criteria.append(criteria(self.plan, self.metrics, values, self.confidence)[1])
            if pairs:
                kept.append(values)
            if self.progress:
                self.progress(values.sample.shape[-1])
        columns = _columns(self.plan.rows, self.metrics, _joined(estimates), finite)
        keep = [rows.applies(row, metric) for metric in self.metrics for row in self.plan.rows]
        columns = {name: column[np.tile(keep, len(scores))] for name, column in columns.items()}
        if self.with_criteria:
            gaps = [row._replace(group=CRITERION) for row in self.plan.rows if row.kind == "gap"]
            added = _columns(gaps, criteria_of(self.metrics), _joined(of_criteria), finite)
            order = np.argsort(np.concatenate([columns["run"], added["run"]]), kind="stable")
            columns = {
                name: np.concatenate([column, added[name]])[order]
                for name, column in columns.items()
            }
        return columns, self._compared(kept, pairs, finite) if pairs else {}

    def gap_p_values(
        self,
        attribute: str,
        scores: Float[np.ndarray, "r n"],
        thresholds: Float[np.ndarray, " r"],
        n_permutations: int,
        advance: Callable[[int], object] | None = None,
    ) -> Float[np.ndarray, "m r"]:
        """p-values of the gap of every metric between those groups of an attribute that have
        numbers.

        See `fairjax.statistics.permutation.gap_p_values`.
        """
        codes, names = self.attributes[attribute]
        number = {name: i for i, name in enumerate(self._usable(attribute))}
        recoded = np.array([*(number.get(name, -1) for name in names), -1])[codes]
        return gap_p_values(
            scores,
            self.labels,
            recoded,
            thresholds=thresholds,
            patients=self.patients,
            weights=self.weights,
            metrics=self.metrics,
            n_permutations=n_permutations,
            seed=self.seed,
            memory_bytes=self.memory_bytes,
            advance=advance,
        )

    def n_usable(self, attribute: str) -> int:
        """Groups of an attribute that have numbers."""
        return len(self._usable(attribute))

    def _usable(self, attribute: str) -> list[str]:
        names = set(self.attributes[attribute][1])
        return [
            row.group
            for _, row in self.plan.of_kind(SUBGROUP)
            if row.attribute == attribute and row.group in names
        ]

    def values(
        self, scores: Float[np.ndarray, "r n"], thresholds: Float[np.ndarray, " r"]
    ) -> Iterator[Values]:
        """Yields the values of the plan's subgroups, a few runs at a time; NaN of infinite scores.

        Args:
          scores: (R, n), as in `evaluate_runs`.
          thresholds: (R,).

        Raises:
          UserError: the scores are not what they should be.
        """
        finite = is_finite(scores, thresholds)
        self._check_scores(scores[finite])
        scores = np.where(finite[:, None], scores, 0)
        of_subgroups = (
            None
            if self.edges is None
            else np.stack([self._edges_of_subgroups(run) for run in scores])
        )
        edges = [None if of_subgroups is None else of_subgroups[:, batch] for batch in self.batches]
        arguments = scores, thresholds, self.weights, self.metrics
        sample = np.concatenate(
            [
                sample_values(subgroups, *arguments, e)
                for subgroups, e in zip(self.subgroups, edges, strict=True)
            ],
            1,
        )
        sample[..., ~finite] = np.nan
        if not self.n_boot:
            yield Values(sample, np.empty((*sample.shape, 0), np.float32))
            return
        draws = [Draws(self.resampling, self.n_boot)]
        draws += [Draws(self.jackknife, self.jackknife.n_blocks)] if self.jackknife else []
        n_entries = max(subgroups.n_entries for subgroups in self.subgroups)
        chunks = plan_chunks(n_entries, len(scores), self.n_boot, self.memory_bytes)
        drawn = [
            replicate_values(
                subgroups,
                scores,
                thresholds,
                draws,
                weights=self.weights,
                metrics=self.metrics,
                seed=self.seed,
                chunks=chunks,
                edges=e,
                advance=self.advance,
            )
            for subgroups, e in zip(self.subgroups, edges, strict=True)
        ]
        for start, batches in zip(range(0, len(scores), chunks.runs), zip(*drawn), strict=True):
            runs = slice(start, start + chunks.runs)
            bootstrap, *jackknife = (np.concatenate(of_scheme, 1) for of_scheme in zip(*batches))
            bootstrap[..., ~finite[runs], :] = np.nan
            yield Values(sample[..., runs], bootstrap, *jackknife).centred(self.metrics)

    def _edges_of_subgroups(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, "c e"]:
        assert self.edges is not None
        return np.stack([self.edges(scores, member) for member in self.plan.members])

    def _compared(
        self, kept: list[Values], pairs: Sequence[tuple[int, int]], finite: np.ndarray
    ) -> Columns:
        sample, bootstrap = (np.concatenate([x[i] for x in kept], 2) for i in (0, 1))
        jackknife = [x.jackknife for x in kept if x.jackknife is not None]
        a, b = np.array(pairs).T
        values = Values(
            sample, bootstrap, np.concatenate(jackknife, 2) if jackknife else None
        ).contrast(a, b, 2)
        subgroups = [row for _, row in self.plan.of_kind(SUBGROUP)]
        at = np.array([row.subgroups[0] for row in subgroups])
        values = values.take(at, 1)
        n = np.array([row.n_patients for row in subgroups])[:, None]
        low, high = values.interval(intervals.expanded(self.confidence, n))
        difference = Estimates(values.sample, low, high, intervals.invalid(values.bootstrap))
        columns = _columns(subgroups, self.metrics, difference, finite[a] & finite[b])
        run = columns.pop("run")
        p_value = intervals.p_value(values.bootstrap).transpose(2, 0, 1).reshape(-1)
        return {"a": a[run], "b": b[run], **columns, "p_value": p_value}

    def _check_scores(self, scores: np.ndarray) -> None:
        if scores.shape[1:] != self.labels.shape:
            raise UserError(f"{scores.shape[1]} scores in each run, but {self.labels.size} labels")
        if self.labelled and scores.size and (scores.min() < 0 or scores.max() > 1):
            raise UserError(
                "scores must be probabilities in [0, 1]; "
                f"they range from {scores.min():g} to {scores.max():g}"
            )


def is_finite(
    scores: Float[np.ndarray, "r n"], thresholds: Float[np.ndarray, " r"]
) -> Bool[np.ndarray, " r"]:
    """Marks the runs that can be evaluated."""
    return np.isfinite(scores).all(1) & np.isfinite(thresholds)


def _check(
    n: int, labels: np.ndarray, attributes: Mapping[str, Attribute], metrics: Sequence[str]
) -> None:
    for metric in metrics:
        lookup("metric", metric, table.METRICS)
    if labels.shape != (n,):
        raise UserError(f"{n} scores in each run, but {labels.size} labels")
    if not labels.size or not np.isin(labels, (0, 1)).all():
        raise UserError("labels must be 0 or 1, and there must be some")
    for name, (codes, names) in attributes.items():
        if name == ALL or np.shape(codes) != labels.shape:
            raise UserError(
                f"attribute {name!r} has {np.size(codes)} values, "
                f"but there are {labels.size} labels"
            )
        if len(set(names)) != len(names) or (
            np.size(codes) and not -1 <= np.min(codes) <= np.max(codes) < len(names)
        ):
            raise UserError(
                f"attribute {name!r}: codes must be -1 or an index into {len(names)} distinct names"
            )


def _batches(sizes: Sequence[int]) -> list[slice]:
    """Slices of subgroups of at most `_ENTRIES_AT_ONCE` samples, or of one that has more."""
    ends, total = [0], 0
    for subgroup, size in enumerate(sizes):
        total += size
        if total > _ENTRIES_AT_ONCE and subgroup > ends[-1]:
            ends.append(subgroup)
            total = size
    return [slice(start, end) for start, end in pairwise([*ends, len(sizes)])]


def _joined(parts: list[Estimates]) -> Estimates:
    return Estimates(*(np.concatenate(column, axis=-1) for column in zip(*parts)))


def _columns(
    of: Sequence[Row], metrics: Sequence[str], estimates: Estimates, finite: np.ndarray
) -> Columns:
    """Flattens (metric, row, run) to columns, run by run and metric by metric."""
    value, low, high, n_invalid = (
        np.ascontiguousarray(e.transpose(2, 0, 1)).reshape(-1) for e in estimates
    )
    n_runs, n_metrics, n_rows = len(finite), len(metrics), len(of)

    def of_rows(values: Sequence[Any], dtype: type = np.int64) -> np.ndarray:
        return np.tile(np.array(values, dtype), n_runs * n_metrics)

    status = of_rows([row.status for row in of], object)
    status[(status == OK) & np.isnan(value)] = "undefined: a denominator is 0"
    status[np.repeat(~finite, n_metrics * n_rows)] = "scores or threshold are not finite"
    return {
        "run": np.repeat(np.arange(n_runs), n_metrics * n_rows),
        "attribute": of_rows([row.attribute for row in of], object),
        "metric": np.tile(np.repeat(np.array(metrics, object), n_rows), n_runs),
        "group": of_rows([row.group for row in of], object),
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": of_rows([row.n for row in of]),
        "n_positive": of_rows([row.n_positive for row in of]),
        "status": status,
        "n_invalid": n_invalid,
    }
