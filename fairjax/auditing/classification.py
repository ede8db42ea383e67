"""`fairjax.audit`: the audit of a binary classifier's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing import inputs, present
from fairjax.auditing.evaluate import Cohort
from fairjax.auditing.policies import POLICIES
from fairjax.auditing.report import AuditReport
from fairjax.auditing.settings import Settings
from fairjax.metrics.threshold import RULES, parse_rule
from fairjax.utils import plugins
from fairjax.utils.errors import UserError


def audit(
    y_true: Any,
    y_score: Any,
    groups: Any,
    *,
    cluster: Any = None,
    n_boot: int = 2000,
    policy: str = "strict",
    seed: int = 0,
    weights: Any = None,
    threshold: float | str = 0.5,
    validation: tuple[Any, Any] | None = None,
    pos_label: Any = None,
    score_type: str = "auto",
    bins: str | Sequence[str] | Mapping[str, Any] | None = None,
    intersections: bool | Sequence[Sequence[str]] = False,
    missing: str = "error",
    missing_values: Sequence[str] = (),
    keep_na: bool = False,
    population: str = "",
    facts: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AuditReport:
    """Measures how a classifier's performance differs between groups of people, and how sure one
    can be of that.

    NumPy arrays, pandas objects, lists and tensors are taken.

    Args:
      y_true: (n,) labels: 0/1, booleans, or any values together with `pos_label`.
      y_score: (n,) probabilities of the positive class, or logits with `score_type="logit"`; (n, K)
        one column per class; or a dict or DataFrame of such, by model: then models are compared
        pairwise, on the same draws.
      groups: the attributes: a DataFrame or dict with one column each, or one array. Missing
        values (NA, None, unknown, -, blank, …) leave a sample out of that attribute; spellings that
        differ in case or blanks are one group.
      cluster: (n,) the patient of each sample, the unit of the bootstrap; None: every sample is
        one.
      n_boot: bootstrap replicates; 0: no intervals.
      policy: `strict`, or `compat` for the numbers of the published FairMedFM code.
      seed: seed of the bootstrap and the permutations.
      weights: (n,) sample weights.
      threshold: where the decision is s ≥ threshold: a number, or a rule (`f1`, `youden`,
        `sensitivity=0.9`, `specificity=0.9`) that chooses it on `validation`.
      validation: labels and scores of other samples, in the form of `y_true` and `y_score`. Without
        them a rule chooses on the evaluated samples, which flatters the result, and the report says
        so.
      pos_label: the positive label; every other is negative.
      score_type: `auto` (probabilities), `probability` or `logit`.
      bins: groups of numbers: `age=40,60` or `{"age": (40, 60)}` (cut points, each in the group
        above it), `age=q4` or `{"age": 4}` (quantiles), `age=each` (every number).
      intersections: True: also all attributes crossed; or tuples of names.
      missing: `error`, or `drop` to leave out (and count) samples without label or score.
      missing_values: values of attributes that mean "not known", besides those above.
      keep_na: whether those whose value is missing are a group of their own.
      population: who the model is meant for, in words, for the report.
      facts: more for the report's card of the data: name, file, ….
      **settings: fields of `fairjax.auditing.settings.Settings`: `confidence`, `interval`,
        `auc_interval`, `stratify`, `min_group`, `metrics`, `n_permutations`, `progress`.

    Returns:
      The report; `print` shows it, `.summary` and `.by_group` are its tables, and `.to_html`,
      `.to_json` and `.to_csv` write it.

    Raises:
      UserError: what is wrong with the input, in one line.
    """
    plugins.load()  # their metrics
    choices = present.settings(
        policy=policy, threshold=threshold, n_boot=n_boot, seed=seed, **settings
    )
    reading = {"pos_label": pos_label, "score_type": score_type, "missing": missing}
    data = inputs.collect(
        y_true,
        y_score,
        groups,
        cluster=cluster,
        weights=weights,
        bins=bins,
        intersections=intersections,
        missing_values=missing_values,
        keep_na=keep_na,
        **reading,
    )
    cohort = present.cohort(data)
    chosen_on, source = _validation(validation, cohort, choices, reading)
    outcome = POLICIES[policy](cohort, choices, chosen_on)
    thresholds = {
        "rule": source,
        "value": next(iter(outcome.thresholds.values())),
        "models": outcome.thresholds,
    }
    return present.report(
        data,
        cohort,
        outcome,
        choices,
        thresholds=thresholds,
        population=population,
        facts=dict(facts or {}),
    )


def _validation(
    validation: tuple[Any, Any] | None, cohort: Cohort, settings: Settings, reading: dict[str, Any]
) -> tuple[Cohort | None, str]:
    """The samples that choose the threshold, and the words for where it comes from."""
    name, target = parse_rule(settings.threshold)
    if settings.policy == "compat":
        return None, "best F1 on these samples, as FairMedFM; the prediction is s > t"
    if name is None:
        if validation is not None:
            raise UserError(
                f"validation samples choose a threshold, but it is fixed at {target:g}; give a "
                "rule "
                "as f1"
            )
        return None, "given"
    words = RULES[name].label.format(f"{target:g}")
    if validation is None:
        return None, f"{words} on these samples themselves, which flatters the result"
    no_groups = {"all": np.zeros(len(validation[0]), int)}
    data = inputs.collect(*validation, pd.DataFrame(no_groups), **reading)
    if list(data.scores) != list(cohort.scores):
        raise UserError(
            f"the validation scores are of {', '.join(data.scores)}, the evaluated ones of "
            f"{', '.join(cohort.scores)}"
        )
    return present.cohort(data)._replace(
        attributes={}
    ), f"{words} on {len(data.scores[next(iter(data.scores))]):,} validation samples"
