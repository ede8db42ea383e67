"""Methods of mitigation against a baseline: one frame of values, differences and intervals, and who
was harmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from fairjax.metrics import table as metric_table
from fairjax.metrics.disparity import DISPARITIES
from fairjax.metrics.table import METRICS
from fairjax.statistics import paired
from fairjax.statistics.estimates import Values
from fairjax.statistics.evaluation import Evaluation, is_finite
from fairjax.statistics.paired import SUMMARIES, Key, Mean, Run
from fairjax.statistics.rows import DIFFERENCE, OK, OVERALL, Attribute, Row, applies
from fairjax.utils.errors import UserError

KEY = ("usage", "method", "sensitive")
SETTINGS = (
    "strength",
    "learning_rate",
    "weight_decay",
)  # of a method; columns of the frame if the table has them
_AT_ONCE = 16  # runs that are evaluated together

Chunk = tuple[Sequence[str], Float[np.ndarray, "r n"]]


def compare_methods(
    chunks: Iterable[Chunk],
    table: pd.DataFrame,
    labels: Int[np.ndarray, " n"],
    attributes: Mapping[str, Attribute],
    thresholds: Mapping[str, float] | pd.Series | float = 0.5,
    patients: Shaped[np.ndarray, " n"] | None = None,
    *,
    baseline: str = "erm",
    metrics: Sequence[str] = metric_table.DEFAULT,
    n_boot: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    min_group: int = 5,
    memory_bytes: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> pd.DataFrame:
    """Averages every method over its seeds, and compares it with the baseline of the same usage.

    Runs are taken as they come. A method's replicates are held from its first run until its last
    and those of its baseline are there: if runs come method by method and the baseline's first,
    that is the baseline, and what is in the runs that are evaluated together.

    Args:
      chunks: names of runs (`run_id`) and their scores (R, n) of the same samples; runs not in
        `table` are skipped.
      table: one row for each run that represents a method: `run_id`, `usage`, `method`, `sensitive`
        (the attribute that the method uses, "" for none), `seed`; and any of `SETTINGS`, the
        same for all seeds of a method.
      labels: (n,) in {0, 1}.
      attributes: name → (codes (n,), names of groups).
      patients: (n,) identity of each sample's patient; None: every sample is one.
      thresholds: by `run_id`, or one for all.
      baseline: its method. A method is compared with the baseline of the same usage that has its
        `sensitive`, else with that without; over the seeds that both have.
      metrics: names from `METRICS`.
      n_boot: replicates of the bootstrap; 0 gives no intervals.
      seed: seed of the draws.
      confidence: level of the intervals.
      min_group: fewest patients with either label for a group to have numbers.
      memory_bytes: bound on the temporaries of one step; None: by the kind of device.
      progress: called with the number of runs that were finished since the last call.

    Returns:
      One row for each method, metric, attribute and overall, group, gap and worst: `KEY`,
        `attribute`, `metric`,
      `group`, `value` (mean over seeds), `ci_low`, `ci_high`, `difference` (method − baseline; NaN
      of the baseline, and where there is none), `difference_low`, `difference_high`, `p_value`
      (two-sided, that the difference is 0), `baseline` (the method that it is the difference to,
      else ""), `n_seeds` (of the difference where there is one), `n`, `n_positive`, `status`, and
      the columns of `SETTINGS` that `table` has.

    Raises:
      UserError: the table or the scores are not what they should be, or runs of the table are in no
        chunk.
    """
    members = _members(table)
    at = {
        run_id: (key, of_seed)
        for key, seeds in members.items()
        for of_seed, run_id in seeds.items()
    }
    evaluation = Evaluation(
        labels,
        attributes,
        len(labels),
        patients,
        metrics=metrics,
        n_boot=n_boot,
        seed=seed,
        confidence=confidence,
        disparities=tuple(SUMMARIES),
        min_group=min_group,
        memory_bytes=memory_bytes,
    )
    rows = [row for row in evaluation.plan.rows if row.kind != DIFFERENCE]
    pending, frames = _comparisons(members, baseline), {}
    for names, scores in _batches(chunks, at):
        for name, run in zip(names, _measure(evaluation, rows, names, scores, thresholds)):
            wanting = {
                id(mean): mean
                for of in pending.values()
                for mean in of.means
                if mean.wants(*at[name])
            }
            for mean in wanting.values():
                mean.add(at[name][1], run)
        for key in [key for key, of in pending.items() if of.complete]:
            frames[key] = _frame(key, pending.pop(key), rows, evaluation)
        if progress:
            progress(len(names))
    if pending:
        missing = sorted(
            {name for of in pending.values() for mean in of.means for name in mean.missing.values()}
        )
        raise UserError(
            f"{len(missing)} runs that stand for methods have no scores, such as {missing[0]!r}"
        )
    frame = pd.concat([frames[key] for key in members], ignore_index=True)
    settings = table[[*KEY, *(name for name in SETTINGS if name in table)]].drop_duplicates(
        list(KEY)
    )
    return frame.merge(settings, how="left", on=list(KEY))


def harm(frame: pd.DataFrame, metrics: Sequence[str] = ("auc", "bce")) -> pd.DataFrame:
    """Says of every method and group whether it is worse off than with the baseline.

    Args:
      frame: rows of `compare_methods`.
      metrics: those of its metrics to look at, of which one end is better.

    Returns:
      The rows of groups of the methods that are compared with a baseline, with the column
        `verdict`: `worse` or
      `better` where the whole interval of the difference is on that side of 0, `unknown` where
      there is none, else `unclear`.
    """
    groups = ~frame["group"].isin([OVERALL, *DISPARITIES]) & frame["metric"].isin(metrics)
    compared = frame.groupby(list(KEY))["difference"].transform("count") > 0
    rows = frame[groups & compared]
    sign = np.array([1 if METRICS[name].higher_is_better else -1 for name in rows["metric"]], int)
    low, high = rows["difference_low"].to_numpy(), rows["difference_high"].to_numpy()
    side = np.where(low > 0, sign, np.where(high < 0, -sign, 0))
    verdict = np.where(
        np.isnan(low), "unknown", np.array(["unclear", "better", "worse"], object)[side]
    )
    return rows.assign(verdict=verdict).reset_index(drop=True)


class _Comparison(NamedTuple):
    """The means that a method's rows are made of: over its own seeds, and over those that the
    baseline has too.
    """

    own: Mean
    paired: Mean | None
    base: Mean | None

    @property
    def means(self) -> list[Mean]:
        """Those that there are."""
        return [mean for mean in self if mean is not None]

    @property
    def complete(self) -> bool:
        """Whether no run is to come."""
        return not any(mean.missing for mean in self.means)


def _members(table: pd.DataFrame) -> dict[Key, dict[int, str]]:
    """Method → seed → run."""
    members: dict[Key, dict[int, str]] = {}
    for name in set(SETTINGS) & set(table):
        if (table.groupby(list(KEY))[name].nunique(dropna=False) > 1).any():
            raise UserError(
                f"the runs of a method differ in {name!r}; "
                "choose one for all of its seeds, by validation"
            )
    for row in table[[*KEY, "seed", "run_id"]].itertuples(index=False):
        seeds = members.setdefault((row.usage, row.method, row.sensitive), {})
        if row.seed in seeds:
            raise UserError(
                f"{row.method!r} (usage {row.usage!r}, sensitive {row.sensitive!r}) has the runs "
                f"{seeds[row.seed]!r} and {row.run_id!r} of one seed; choose one, by validation"
            )
        seeds[row.seed] = row.run_id
    if not members:
        raise UserError("there are no methods to compare: the table of their runs is empty")
    return members


def _comparisons(members: Mapping[Key, Mapping[int, str]], baseline: str) -> dict[Key, _Comparison]:
    """Method → the means to make; equal ones are one."""
    means: dict[tuple[Key, tuple[int, ...]], Mean] = {}

    def mean(key: Key, seeds: Iterable[int]) -> Mean:
        seeds = tuple(seeds)
        return means.setdefault(
            (key, seeds), Mean(key, {seed: members[key][seed] for seed in seeds}, len(seeds))
        )

    found = {}
    for key, seeds in members.items():
        usage, method, sensitive = key
        base = next(
            (of for of in ((usage, baseline, sensitive), (usage, baseline, "")) if of in members),
            None,
        )
        shared = (
            []
            if base is None or method == baseline
            else [seed for seed in seeds if seed in members[base]]
        )
        pair = (mean(key, shared), mean(base, shared)) if base and shared else (None, None)
        found[key] = _Comparison(mean(key, seeds), *pair)
    return found


def _batches(
    chunks: Iterable[Chunk], wanted: Mapping[str, object]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Gathers the runs that are wanted, each once, `_AT_ONCE` at a time."""
    names: list[str] = []
    scores: list[np.ndarray] = []
    seen: set[str] = set()
    for chunk, of_chunk in chunks:
        for name, of_run in zip(chunk, of_chunk, strict=True):
            if name in wanted and name not in seen:
                seen.add(name)
                names.append(name)
                scores.append(np.array(of_run))
            if len(names) == _AT_ONCE:
                yield names, np.stack(scores)
                names, scores = [], []
    if names:
        yield names, np.stack(scores)


def _measure(
    evaluation: Evaluation,
    rows: Sequence[Row],
    names: Sequence[str],
    scores: Float[np.ndarray, "r n"],
    thresholds: Mapping[str, float] | pd.Series | float,
) -> Iterator[Run]:
    """Yields the rows of each run."""
    of_runs = [
        thresholds if isinstance(thresholds, float | int) else thresholds[name] for name in names
    ]
    filled = np.minimum(np.arange(_AT_ONCE), len(names) - 1)  # one shape, one compilation
    scores, limits = scores[filled], np.array(of_runs, scores.dtype)[filled]
    faults = np.where(is_finite(scores, limits), "", "scores or threshold of a run are not finite")
    runs = (
        Values(values.sample[..., r], values.bootstrap[..., r, :])
        for values in evaluation.values(scores, limits)
        for r in range(values.sample.shape[-1])
    )
    for values, fault, _ in zip(runs, faults, names):
        yield paired.measured(values, rows, evaluation.metrics, str(fault))


def _frame(key: Key, of: _Comparison, rows: Sequence[Row], evaluation: Evaluation) -> pd.DataFrame:
    """The rows of one method."""
    metrics, shape = evaluation.metrics, (len(evaluation.metrics), len(rows))
    value, low, high = paired.averaged(of.own, rows, evaluation)
    difference = below = above = p_value = np.full(shape, np.nan)
    if of.paired and of.base:
        difference, below, above, p_value = paired.differences(of.paired, of.base, rows, evaluation)
    status = np.tile(np.array([row.status for row in rows], object), (shape[0], 1))
    status[(status == OK) & np.isnan(value)] = (
        of.own.fault or "undefined in a run: a denominator is 0"
    )
    counts = {
        name: np.tile([getattr(row, name) for row in rows], shape[0])
        for name in ("n", "n_positive")
    }
    frame = pd.DataFrame(
        {
            **dict(zip(KEY, key)),
            "attribute": [row.attribute for row in rows] * shape[0],
            "metric": np.repeat(np.array(metrics, object), shape[1]),
            "group": [row.group for row in rows] * shape[0],
            "value": value.reshape(-1),
            "ci_low": low.reshape(-1),
            "ci_high": high.reshape(-1),
            "difference": difference.reshape(-1),
            "difference_low": below.reshape(-1),
            "difference_high": above.reshape(-1),
            "p_value": p_value.reshape(-1),
            "baseline": of.base.key[1] if of.base else "",
            "n_seeds": (of.paired or of.own).n_seeds,
            **counts,
            "status": status.reshape(-1),
        }
    )
    keep = [applies(row, metric) for metric in metrics for row in rows]
    return frame[keep]
