"""From what was read and found to the report."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pandas as pd

from fairjax.auditing import summaries
from fairjax.auditing.evaluate import Cohort, Outcome
from fairjax.auditing.inputs import Predictions
from fairjax.auditing.report import AuditReport
from fairjax.auditing.settings import Settings
from fairjax.datasets import dataset
from fairjax.report import ReportData
from fairjax.utils.environment import environment
from fairjax.utils.errors import UserError, did_you_mean
from fairjax.utils.storage import hash_arrays

SPLIT = "evaluated"


def settings(**choices: Any) -> Settings:
    """Returns settings from keyword arguments.

    Args:
      **choices: fields of `Settings`.

    Raises:
      UserError: there is no such setting, or it cannot have that value.
    """
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in choices:
        if name not in known:
            raise UserError(f"unknown setting {name!r}{did_you_mean(name, known)}")
    return Settings(**choices)


def cohort(data: Predictions) -> Cohort:
    """Returns who is evaluated.

    Args:
      data: what was read.

    Raises:
      UserError: a group has a name that the report needs itself.
    """
    for attribute, (_, names) in data.attributes.items():
        if dataset.MISSING in names:
            raise UserError(
                f"attribute {attribute!r} has a group {dataset.MISSING!r}; rename it, or leave it "
                "empty"
            )
    rows = len(next(iter(data.scores.values())))
    patients = np.arange(rows) if data.patients is None else data.patients
    return Cohort(data.labels, data.scores, data.attributes, patients, data.weights)


def report(
    data: Predictions,
    cohort: Cohort,
    outcome: Outcome,
    settings: Settings,
    *,
    thresholds: dict[str, Any],
    population: str,
    facts: dict[str, Any],
) -> AuditReport:
    """Puts the report together.

    Args:
      data: what was read, and what was left out.
      cohort: who was evaluated.
      outcome: what was found.
      settings: choices of the analysis.
      thresholds: the rule in words, and the value; empty for values that need none.
      population: who the model is meant for, in words.
      facts: what the caller knows of the data: name, file, hash, command.
    """
    models = list(cohort.scores)
    names = {name: list(groups) for name, (_, groups) in cohort.attributes.items()}
    results = outcome.results.assign(model=outcome.results["run"], policy=settings.policy)
    command, title = facts.pop("command", ""), facts.pop("title", "Subgroup audit")
    notes = _notes(data, settings) + data.notes
    shown = cohort.scores[models[0]]
    page = ReportData(
        title=title,
        command=command,
        config={"evaluation": settings.facts()},
        environment=environment(command or " ".join(sys.argv[:1])),
        dataset=facts | {"rows": len(shown), "sha256": _input_hash(cohort)} | data.facts,
        model={"name": models[0]} | ({"compared with": models[1:]} if len(models) > 1 else {}),
        cohort=_counts(cohort),
        results=results,
        run=models[0],
        curves=_curves(cohort, shown),
        thresholds=thresholds,
        notes=notes,
        sample="row",
        unit="row" if data.patients is None else "patient",
        analysis=_analysis(settings),
        population=_population(data, population),
        missingness=data.left_out_by_group,
        comparisons=outcome.comparisons,
        values=_by_group(cohort, shown) if cohort.labels is None else {},
    )
    return AuditReport(
        summary=summaries.summary(results, names, settings.policy),
        by_group=summaries.by_group(results, names, settings.policy),
        results=results,
        comparisons=outcome.comparisons,
        notes=notes,
        remarks=data.notes,
        data=page,
    )


def _analysis(settings: Settings) -> dict[str, Any]:
    """How the numbers were made, in words."""
    return {
        "intervals": f"{settings.interval}, {settings.n_boot:,} replicates"
        if settings.n_boot
        else "none",
        "interval of the AUC": "DeLong" if settings.auc_interval == "delong" else "",
        "drawn": "within label and groups" if settings.stratify else "",
        "permutations": settings.n_permutations or "none",
        "fewest patients": f"{settings.min_patients} of either label in a group",
        "seed": settings.seed,
    }


def _population(data: Predictions, stated: str) -> dict[str, Any]:
    """Facts on who the numbers are about."""
    left_out = {f"left out: {reason}": count for reason, count in data.left_out.items()}
    units = {} if data.patients is None else {"patients": int(np.unique(data.patients).size)}
    missing = {
        f"{name}: not known": int((codes < 0).sum())
        for name, (codes, _) in data.attributes.items()
        if (codes < 0).any()
    }
    used = {"rows in the table": data.n_given, "rows used": len(next(iter(data.scores.values())))}
    return (
        {"intended population": stated or "not stated"}
        | used
        | left_out
        | units
        | missing
        | data.rules
    )


def _notes(data: Predictions, settings: Settings) -> list[str]:
    notes = []
    if data.patients is None:
        notes.append(
            "No column of patients was given: rows are taken as independent patients. If some are "
            "of the same one, the intervals are too narrow."
        )
    if settings.policy == "compat":
        notes.append(
            "Policy compat: the conventions of the published FairMedFM code. Its threshold is "
            "chosen "
            "on the evaluated samples, and each group has calibration bins of its own."
        )
    if data.weights is not None:
        notes.append("Metrics are weighted; counts of rows are not.")
    return notes


def _counts(cohort: Cohort) -> pd.DataFrame:
    if cohort.labels is None:
        return pd.DataFrame()
    split = pd.Categorical(np.full(cohort.patients.shape, SPLIT, object))
    return dataset.cohort(cohort.attributes, cohort.labels, cohort.patients, split)


def _curves(cohort: Cohort, scores: np.ndarray) -> dict[str, dict[str, tuple]]:
    if cohort.labels is None:
        return {}
    labels = _by_group(cohort, cohort.labels)
    groups = {
        attribute: {name: (values, labels[attribute][name]) for name, values in by.items()}
        for attribute, by in _by_group(cohort, scores).items()
    }
    return {"all": {"overall": (scores, cohort.labels)}, **groups}


def _by_group(cohort: Cohort, values: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Attribute → group → values of its members."""
    found = {}
    for attribute, (codes, names) in cohort.attributes.items():
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(names) + 1))
        found[attribute] = {
            name: values[order[ends[i] : ends[i + 1]]] for i, name in enumerate(names)
        }
    return found


def _input_hash(cohort: Cohort) -> str:
    """SHA-256 of all that the numbers depend on."""
    arrays = {f"score:{name}": values for name, values in cohort.scores.items()}
    arrays |= {f"group:{name}": codes for name, (codes, _) in cohort.attributes.items()}
    arrays["cluster"] = cohort.patients
    for name, values in {"label": cohort.labels, "weight": cohort.weights}.items():
        if values is not None:
            arrays[name] = values
    return hash_arrays(arrays)
