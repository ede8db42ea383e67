"""The numbers of an audit: models at thresholds, compared between groups and with one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from fairjax.auditing.settings import Settings
from fairjax.metrics.disparity import DISPARITIES
from fairjax.statistics import comparisons, delong, rows
from fairjax.statistics.evaluation import Evaluation
from fairjax.statistics.rows import ALL, OVERALL, Attribute
from fairjax.utils import progress

GAP = "gap"


class Cohort(NamedTuple):
    """Who is evaluated.

    Attributes:
      labels: (n,) in {0, 1}; None for values that need none.
      scores: Run (the model's name, in `compat` with its threshold) → (n,) float64.
      attributes: Name → (codes, names).
      patients: (n,) codes of patients.
      weights: (n,) or None.
    """

    labels: Any  # (n,) or None
    scores: dict[Any, Float[np.ndarray, " n"]]
    attributes: dict[str, Attribute]
    patients: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"] | None = None

    def members(self, attribute: str, group: str) -> np.ndarray:
        """(n,) whether a sample is in a group, or in any if the group is `overall`."""
        if attribute == ALL:
            return np.ones(self.patients.shape, bool)
        codes, names = self.attributes[attribute]
        return codes >= 0 if group == OVERALL else codes == list(names).index(group)

    def known(self, attribute: str) -> Cohort:
        """Those whose group is known, with that attribute alone."""
        codes, names = self.attributes[attribute]
        keep = codes >= 0
        labels, weights = (None if x is None else x[keep] for x in (self.labels, self.weights))
        scores = {name: values[keep] for name, values in self.scores.items()}
        patients = np.unique(self.patients[keep], return_inverse=True)[1].reshape(-1)
        return Cohort(labels, scores, {attribute: (codes[keep], names)}, patients, weights)

    def strata(self) -> Int[np.ndarray, " n"]:
        """(n,) codes of label × groups of every attribute."""
        labels = np.zeros(self.patients.shape, int) if self.labels is None else self.labels
        columns = np.stack([labels, *(codes for codes, _ in self.attributes.values())], axis=1)
        return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)


class Outcome(NamedTuple):
    """What an audit found.

    Attributes:
      results: Tidy, one row for each run (the model's name), metric, attribute and group, with
        value, ci_low, ci_high, n, n_positive, status, n_invalid, and of gaps p_value, p_holm, p_bh.
      comparisons: Differences a − b between models on the same draws, with p-values; None where
        there is one model.
      thresholds: Model → decision threshold.
    """

    results: pd.DataFrame
    comparisons: pd.DataFrame | None
    thresholds: dict[Any, float]


def evaluate_models(
    cohort: Cohort,
    settings: Settings,
    thresholds: Float[np.ndarray, " r"],
    metrics: Sequence[str],
    edges: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Outcome:
    """Evaluates every model at its threshold, and the differences between models; p-values are not
    yet adjusted.
    """
    models = pd.Series(list(cohort.scores), dtype=object)
    scores = np.stack(list(cohort.scores.values()))
    evaluation = Evaluation(
        cohort.labels,
        cohort.attributes,
        scores.shape[1],
        cohort.patients,
        weights=cohort.weights,
        strata=cohort.strata() if settings.stratify else None,
        metrics=metrics,
        disparities=tuple(DISPARITIES),
        with_criteria=True,
        edges=edges,
        **settings.options(),
    )
    total = evaluation.n_columns * len(scores)
    with progress.bar(
        "resampling", "replicate", total, show=settings.progress and bool(total)
    ) as bar:
        evaluation.advance = bar.update
        columns, compared = evaluation.evaluate_and_compare(scores, thresholds)
    results, differences = pd.DataFrame(columns), pd.DataFrame(compared) if compared else None
    _add_gap_tests(results, evaluation, scores, thresholds, settings)
    if settings.auc_interval == "delong" and "auc" in metrics:
        _DeLong(cohort, scores, settings.confidence).replace(results, differences)
    results["run"] = results["run"].map(models)
    if differences is not None:
        differences[["a", "b"]] = differences[["a", "b"]].apply(lambda run: run.map(models))
    if cohort.labels is None:
        results["n_positive"] = np.nan
    return Outcome(results, differences, dict(zip(models, thresholds.tolist(), strict=True)))


def adjust(table: pd.DataFrame) -> None:
    """Adds p-values corrected by Holm and by Benjamini & Hochberg; a family is all tests of one
    metric.
    """
    by_metric = table.groupby("metric", sort=False)["p_value"]
    table["p_holm"] = by_metric.transform(lambda p: comparisons.holm(p.to_numpy()))
    table["p_bh"] = by_metric.transform(lambda p: comparisons.benjamini_hochberg(p.to_numpy()))


def _add_gap_tests(
    results: pd.DataFrame,
    evaluation: Evaluation,
    scores: np.ndarray,
    thresholds: np.ndarray,
    settings: Settings,
) -> None:
    results["p_value"] = np.nan
    if not settings.n_permutations:
        return
    number = {name: m for m, name in enumerate(evaluation.metrics)}
    for attribute in evaluation.attributes:
        total = (settings.n_permutations + 1) * evaluation.n_usable(attribute) * len(scores)
        with progress.bar(f"permuting {attribute}", "group", total, show=settings.progress) as bar:
            arguments = attribute, scores, thresholds, settings.n_permutations, bar.update
            p_values = evaluation.gap_p_values(*arguments)
        gaps = results[(results["group"] == GAP) & (results["attribute"] == attribute)]
        results.loc[gaps.index, "p_value"] = p_values[gaps["metric"].map(number), gaps["run"]]


class _DeLong:
    """Intervals of the AUC by DeLong's variance, in place of those of the bootstrap."""

    def __init__(self, cohort: Cohort, scores: Float[np.ndarray, "r n"], confidence: float):
        self.cohort, self.scores, self.confidence = cohort, scores, confidence
        self.n_patients = int(cohort.patients.max()) + 1
        self.kept: dict[tuple[int, str, str], np.ndarray] = {}

    def influence(self, run: int, attribute: str, group: str) -> Float[np.ndarray, " k"]:
        """(patients,) whose squares add up to the variance of the AUC of a run in a group."""
        key = (run, attribute, group)
        if key not in self.kept:
            member = self.cohort.members(attribute, group)
            labels = np.asarray(self.cohort.labels)[member]
            data = self.scores[run, member], labels, self.cohort.patients[member]
            self.kept[key] = delong.auc_influence(*data, self.n_patients)[1]
        return self.kept[key]

    def replace(self, results: pd.DataFrame, differences: pd.DataFrame | None) -> None:
        """Sets ci_low and ci_high of groups, of their differences, and of differences between
        models (and p_value).
        """
        known = results[(results["metric"] == "auc") & results["value"].notna()]
        names = {ALL: [OVERALL]} | {
            name: [OVERALL, *names] for name, (_, names) in self.cohort.attributes.items()
        }
        pairs = {
            (attribute, rows.difference_name(a, b)): (a, b)
            for attribute, of in names.items()
            for a in of
            for b in of
        }
        for row in known.itertuples():
            if row.group in names[row.attribute]:
                se = float(np.linalg.norm(self.influence(row.run, row.attribute, row.group)))
                ends = delong.interval(row.value, se, self.confidence)
            elif (row.attribute, row.group) in pairs:
                a, b = (
                    self.influence(row.run, row.attribute, group)
                    for group in pairs[row.attribute, row.group]
                )
                ends = delong.difference_interval(
                    row.value, float(np.linalg.norm(a - b)), self.confidence
                )
            else:
                continue
            results.loc[row.Index, ["ci_low", "ci_high", "n_invalid"]] = *ends, 0
        if differences is None:
            return
        for row in differences[
            (differences["metric"] == "auc") & differences["value"].notna()
        ].itertuples():
            a, b = (self.influence(run, row.attribute, row.group) for run in (row.a, row.b))
            se = float(np.linalg.norm(a - b))
            ends = delong.difference_interval(row.value, se, self.confidence)
            columns = ["ci_low", "ci_high", "n_invalid", "p_value"]
            differences.loc[row.Index, columns] = *ends, 0, delong.p_value(row.value, se)
