"""Every metric with its interval, for every run, attribute and group: the table behind the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from fairjax.errors import UserError, lookup
from fairjax.metrics import table
from fairjax.metrics.cells import Cells
from fairjax.statistics.bootstrap import Resampling
from fairjax.statistics.replicates import plan_chunks, replicate_values
from fairjax.statistics.rows import OK, Attribute, RowPlan


def evaluate_runs(
    scores: Float[np.ndarray, "r n"],
    labels: Int[np.ndarray, " n"],
    attributes: Mapping[str, Attribute],
    thresholds: Float[np.ndarray, " r"] | float,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    *,
    weights: Float[np.ndarray, " n"] | None = None,
    strata: Int[np.ndarray, " n"] | None = None,
    metrics: Sequence[str] = table.DEFAULT,
    n_boot: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    min_group: int = 5,
    memory_bytes: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, np.ndarray]:
    """Evaluates runs that scored the same samples, with bootstrap intervals over clusters, the same draws for every
    run.

    A run's numbers do not depend on the other runs, nor on how the work is cut into chunks.

    Args:
      scores: (R, n) probabilities of the positive class. A run with scores that are not finite gets NaN and a status.
      labels: (n,) in {0, 1}.
      attributes: Name → (codes (n,), names): the group of each sample as index into names, -1 where it is not known.
      thresholds: (R,) or one for all; the prediction is s ≥ threshold. See `fairjax.metrics.threshold`.
      clusters: (n,) the patient of each sample; None: every sample is one.
      weights: (n,) sample weights, multiplied with the multiplicities of the bootstrap; None: 1.
      strata: (n,) codes within which patients are drawn; None: all together.
      metrics: Names from `fairjax.metrics.table.METRICS`.
      n_boot: Replicates; 0 gives no intervals.
      seed: Of the draws.
      confidence: Of the intervals.
      min_group: Fewest patients with either label for a group to have numbers.
      memory_bytes: Bound on the temporaries of one step, beside the inputs and the replicates' values of a few runs;
        None: by the kind of device.
      progress: Called with the number of runs that were finished since the last call.

    Returns:
      Columns of equal length, one row for each run, metric, attribute and group: `run` (index), `attribute`, `metric`,
      `group`, `value`, `ci_low`, `ci_high`, `n`, `n_positive` (samples), `status` (`ok`, or what is missing and why)
      and `n_invalid` (replicates in which the value is undefined). Attribute `all` has the group `overall`; every other
      has `overall` (where the attribute is known), its groups, the rows of `fairjax.metrics.disparity.DISPARITIES`, and
      differences `a − b`. Intervals are percentile intervals; those of disparities are named in their table.

    Raises:
      UserError: The input is not what it should be.
    """
    scores, labels = np.atleast_2d(scores), np.asarray(labels)
    thresholds = np.broadcast_to(np.asarray(thresholds, scores.dtype), scores.shape[:1])
    metrics = tuple(metrics)
    finite = np.isfinite(scores).all(1) & np.isfinite(thresholds)
    _check(scores[finite], labels, attributes, metrics)
    resampling = Resampling.build(labels.size, clusters, strata)
    plan = RowPlan.build(labels, attributes, np.asarray(resampling.cluster), min_group)
    cells = Cells.build(labels, np.stack(plan.members))
    base = np.ones(labels.size, np.float32) if weights is None else np.asarray(weights, np.float32)
    chunks = plan_chunks(cells.n_entries, len(scores), n_boot, memory_bytes)

    parts = []
    values = replicate_values(
        cells, np.where(finite[:, None], scores, 0), thresholds, resampling, base, metrics, n_boot, seed, chunks
    )
    for start, (point, replicates) in zip(range(0, len(scores), chunks.runs), values, strict=True):
        bad = ~finite[start : start + chunks.runs]
        point[..., bad] = np.nan
        replicates[..., bad, :] = np.nan
        parts.append(plan.estimate(metrics, point, replicates, confidence))
        if progress:
            progress(point.shape[-1])
    return _columns(plan, metrics, [np.concatenate(column, axis=-1) for column in zip(*parts)], finite)


def _check(scores: np.ndarray, labels: np.ndarray, attributes: Mapping[str, Attribute], metrics: Sequence[str]) -> None:
    for metric in metrics:
        lookup("metric", metric, table.METRICS)
    if scores.shape[1:] != labels.shape:
        raise UserError(f"{scores.shape[1]} scores in each run, but {labels.size} labels")
    if not labels.size or not np.isin(labels, (0, 1)).all():
        raise UserError("labels must be 0 or 1, and there must be some")
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise UserError(f"scores must be probabilities in [0, 1]; they range from {scores.min():g} to {scores.max():g}")
    for name, (codes, names) in attributes.items():
        if np.shape(codes) != labels.shape:
            raise UserError(f"attribute {name!r} has {np.size(codes)} values, but there are {labels.size} labels")
        if len(set(names)) != len(names) or (np.size(codes) and not -1 <= np.min(codes) <= np.max(codes) < len(names)):
            raise UserError(f"attribute {name!r}: codes must be -1 or an index into {len(names)} distinct names")


def _columns(plan: RowPlan, metrics: Sequence[str], estimates: Sequence[np.ndarray], finite: np.ndarray) -> dict:
    """Flattens (metric, row, run) to columns, run by run and metric by metric."""
    value, low, high, n_invalid = (np.ascontiguousarray(e.transpose(2, 0, 1)).reshape(-1) for e in estimates)
    n_runs, n_metrics, n_rows = len(finite), len(metrics), len(plan.rows)

    def of_rows(values: Sequence) -> np.ndarray:
        dtype = object if isinstance(values[0], str) else np.int64
        return np.tile(np.array(values, dtype), n_runs * n_metrics)

    status = of_rows([row.status for row in plan.rows])
    status[(status == OK) & np.isnan(value)] = "undefined: a denominator is 0"
    status[np.repeat(~finite, n_metrics * n_rows)] = "scores or threshold are not finite"
    columns = {
        "run": np.repeat(np.arange(n_runs), n_metrics * n_rows),
        "attribute": of_rows([row.attribute for row in plan.rows]),
        "metric": np.tile(np.repeat(np.array(metrics, object), n_rows), n_runs),
        "group": of_rows([row.group for row in plan.rows]),
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": of_rows([row.n for row in plan.rows]),
        "n_positive": of_rows([row.n_positive for row in plan.rows]),
        "status": status,
        "n_invalid": n_invalid,
    }
    keep = np.tile([plan.applies(row, metric) for metric in metrics for row in plan.rows], n_runs)
    return columns if keep.all() else {name: column[keep] for name, column in columns.items()}
