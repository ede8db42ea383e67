"""`fairjax.audit_segmentation`: the audit of segmentations, from the Dice of every image or from
masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing import arrays, inputs, masks, present
from fairjax.auditing.evaluate import Outcome
from fairjax.auditing.policies import values as evaluate_values
from fairjax.auditing.report import AuditReport
from fairjax.metrics.table import METRICS
from fairjax.utils.errors import UserError


def audit_segmentation(
    dice: Any = None,
    groups: Any = None,
    *,
    pred_masks: Any = None,
    true_masks: Any = None,
    cluster: Any = None,
    n_boot: int = 2000,
    policy: str = "strict",
    seed: int = 0,
    weights: Any = None,
    bins: str | Sequence[str] | Mapping[str, Any] | None = None,
    intersections: bool | Sequence[Sequence[str]] = False,
    missing: str = "error",
    missing_values: Sequence[str] = (),
    keep_na: bool = False,
    population: str = "",
    facts: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = ("dice", "iou"),
    masks_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AuditReport:
    """Measures how the quality of segmentations differs between groups of people, and how sure one
    can be of that.

    Args:
      dice: (n,) Dice of every image; or a dict or DataFrame of such by model. Instead of it:
        `pred_masks` and `true_masks`.
      groups: as in `fairjax.audit`.
      cluster: as in `fairjax.audit`.
      n_boot: as in `fairjax.audit`.
      seed: as in `fairjax.audit`.
      weights: as in `fairjax.audit`.
      bins: as in `fairjax.audit`.
      intersections: as in `fairjax.audit`.
      missing: as in `fairjax.audit`.
      missing_values: as in `fairjax.audit`.
      keep_na: as in `fairjax.audit`.
      population: as in `fairjax.audit`.
      facts: as in `fairjax.audit`.
      pred_masks: predicted masks or their paths; see `fairjax.auditing.masks.measure`.
      true_masks: true masks or their paths.
      policy: `strict`, or `compat`: the summary has the columns of the published FairMedFM code.
      metrics: `dice`, `iou`, `nsd`, `hd95` of masks. The first is that of the report's verdict.
      masks_options: `label`, `mask_threshold`, `spacing`, `tolerance`, `empty` of
        `fairjax.auditing.masks.measure`.
      **settings: as in `fairjax.audit`, as far as they do not concern scores.

    Returns:
      The report. Every metric has a mean and a median for each group.

    Raises:
      UserError: what is wrong with the input, in one line.
    """
    if (dice is None) == (pred_masks is None or true_masks is None):
        raise UserError("give dice, or both pred_masks and true_masks")
    if groups is None:
        raise UserError("give groups, whose performance is compared")
    show = bool(settings.get("progress"))
    if dice is not None:
        by_metric = {
            "dice": {
                name: _per_case(values, name)
                for name, values in inputs.by_model(dice, "dice").items()
            }
        }
    else:
        found = masks.measure(
            pred_masks, true_masks, metrics, progress=show, **(masks_options or {})
        )
        by_metric = {name: {"masks": values} for name, values in found.items()}
    parts = []
    for name, scores in by_metric.items():
        choices = present.settings(
            policy=policy, n_boot=n_boot, seed=seed, metrics=(name, f"{name}_median"), **settings
        )
        _check_range(name, scores)
        # A metric of masks that is undefined is not missing data: the case has no such number.
        drop = missing if dice is not None else "drop"
        data = inputs.assemble(
            None,
            scores,
            groups,
            cluster=cluster,
            weights=weights,
            bins=bins,
            intersections=intersections,
            missing=drop,
            missing_values=missing_values,
            keep_na=keep_na,
        )
        cohort = present.cohort(data)
        parts.append((data, cohort, choices, evaluate_values(cohort, choices)))
    data, cohort, choices, _ = parts[0]
    results = pd.concat([outcome.results for *_, outcome in parts], ignore_index=True)
    compared = [outcome.comparisons for *_, outcome in parts if outcome.comparisons is not None]
    outcome = Outcome(results, pd.concat(compared, ignore_index=True) if compared else None, {})
    return present.report(
        data,
        cohort,
        outcome,
        choices,
        thresholds={},
        population=population,
        facts=dict(facts or {}),
    )


def _per_case(values: Any, name: str) -> np.ndarray:
    array = arrays.numbers(values, name)
    if array.ndim != 1:
        raise UserError(
            f"{name} must be one value for each image, not an array of shape {array.shape}"
        )
    return array


def _check_range(metric: str, scores: Mapping[str, np.ndarray]) -> None:
    low, high = METRICS[metric].bounds
    for name, values in scores.items():
        known = values[~np.isnan(values)]
        if known.size and (known.min() < low or known.max() > high):
            raise UserError(
                f"{name} ranges from {known.min():g} to {known.max():g}; {metric} must be in "
                f"[{low:g}, {high:g}]"
            )
