"""The policies: how the threshold and the bins are chosen, and which metrics are looked at.

`strict` has one threshold, from outside of the evaluated samples, and bins that all groups share.
`compat` has the numbers of the published FairMedFM code: each attribute on the samples whose group
is known, metrics plain at the threshold 0.5 and with `@best_f1` at the highest F1 of these samples;
intervals take that threshold and the bins as given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairjax.auditing.evaluate import Cohort, Outcome, adjust, evaluate_models
from fairjax.auditing.settings import Settings
from fairjax.metrics.compat import best_f1_threshold, just_above, own_range_edges
from fairjax.metrics.disparity import CRITERIA
from fairjax.metrics.table import METRICS
from fairjax.metrics.threshold import choose_threshold
from fairjax.statistics.rows import ALL
from fairjax.utils.errors import UserError

COMPAT_METRICS = ("auc", "acc", "bce", "ece", "tpr", "tnr")
# the others are the same at every threshold
AT_THRESHOLD = tuple(name for name in COMPAT_METRICS if not METRICS[name].of_scores)
BEST = "@best_f1"


def strict(cohort: Cohort, settings: Settings, validation: Cohort | None = None) -> Outcome:
    """Evaluates models at the thresholds that the validation samples choose; without any, the
    evaluated samples do.
    """
    chosen_on = validation or cohort
    thresholds = [
        choose_threshold(s, chosen_on.labels, settings.threshold)[0]
        for s in chosen_on.scores.values()
    ]
    return _adjusted(
        evaluate_models(cohort, settings, np.array(thresholds, np.float64), settings.metrics)
    )


def compat(cohort: Cohort, settings: Settings, validation: Cohort | None = None) -> Outcome:
    """Evaluates models as the published FairMedFM code does.

    Raises:
      UserError: There are weights, which that code does not know.
    """
    if cohort.weights is not None:
        raise UserError(
            "policy compat knows no sample weights; leave them out, or use policy strict"
        )
    complete = [name for name, (codes, _) in cohort.attributes.items() if (codes >= 0).all()]
    parts = {name: _compat_part(cohort.known(name), settings) for name in cohort.attributes}
    everybody = (
        parts[complete[0]] if complete else _compat_part(cohort._replace(attributes={}), settings)
    )

    def joined(table: str) -> pd.DataFrame | None:
        found = {ALL: getattr(everybody, table)} | {
            name: getattr(part, table) for name, part in parts.items()
        }
        if found[ALL] is None:
            return None
        return pd.concat(
            [rows[rows["attribute"] == name] for name, rows in found.items()], ignore_index=True
        )

    return _adjusted(Outcome(joined("results"), joined("comparisons"), everybody.thresholds))


def values(cohort: Cohort, settings: Settings, validation: Cohort | None = None) -> Outcome:
    """Evaluates per-case values, such as a Dice of every image, which need neither labels nor a
    threshold.
    """
    return _adjusted(
        evaluate_models(cohort, settings, np.zeros(len(cohort.scores)), settings.metrics)
    )


POLICIES: dict[str, Callable[[Cohort, Settings, Cohort | None], Outcome]] = {
    "strict": strict,
    "compat": compat,
}


def _compat_part(part: Cohort, settings: Settings) -> Outcome:
    """The samples of one attribute, at both thresholds: every model is two runs."""
    best = {model: _best_f1(scores, part) for model, scores in part.scores.items()}
    runs = {(model, at): part.scores[model] for at in ("", BEST) for model in best}
    thresholds = np.array([best[model] if at else just_above(0.5) for model, at in runs])
    found = evaluate_models(
        part._replace(scores=runs), settings, thresholds, COMPAT_METRICS, own_range_edges
    )

    def by_model(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        """Names the threshold in the metric; criteria are those at the best F1."""
        at = table[columns[0]].str[1]
        keep = np.all([table[column].str[1] == at for column in columns], axis=0)
        keep &= (at == BEST) & table["metric"].isin([*AT_THRESHOLD, *CRITERIA]) | (
            at == ""
        ) & ~table["metric"].isin(CRITERIA)
        named = table.assign(metric=table["metric"] + at.where(~table["metric"].isin(CRITERIA), ""))
        return named.assign(**{column: table[column].str[0] for column in columns})[keep]

    compared = (
        None
        if found.comparisons is None or len(best) < 2
        else by_model(found.comparisons, ["a", "b"])
    )
    return Outcome(by_model(found.results, ["run"]), compared, best)


def _best_f1(scores: Float[np.ndarray, " n"], cohort: Cohort) -> float:
    one_class = np.unique(cohort.labels).size < 2
    return np.nan if one_class else best_f1_threshold(scores, cohort.labels)


def _adjusted(outcome: Outcome) -> Outcome:
    adjust(outcome.results)
    if outcome.comparisons is not None:
        adjust(outcome.comparisons)
    return outcome
