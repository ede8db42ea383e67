"""What was run, on whom, and how to read it."""

from __future__ import annotations

from typing import Any

from fairjax.report.display import metric
from fairjax.report.facts import facts, flat
from fairjax.report.format import count, decimal, finite
from fairjax.report.sections.common import Page
from fairjax.report.selected import GAP, OVERALL

SPLITS = ("train", "validation", "test")
_RUN_FACTS = (
    "usage",
    "method",
    "sensitive",
    "strength",
    "learning_rate",
    "weight_decay",
    "seed",
    "run",
    "policy",
)


def what(page: Page) -> dict[str, Any]:
    """Cards of the data, the model and the run, and the command."""
    data, row = page.data, page.selected.row
    n_runs = 0 if page.models else data.results["run"].nunique()
    run = {key: row[key] for key in _RUN_FACTS if key in row and row[key] != data.model.get("name")}
    if n_runs > 1 and data.thresholds:  # without a threshold, nothing was selected on validation
        run["selected from"] = f"{count(n_runs)} runs, on validation data"
    if data.thresholds:
        run["threshold"] = f"{decimal(data.thresholds['value'])} ({data.thresholds['rule']})"
    for name, value in data.thresholds.get("models", {}).items():
        if name != data.run:
            run[f"threshold of {name}"] = decimal(value)
    run |= data.analysis
    dataset = {key: value for key, value in data.dataset.items() if key != "quarantined"}
    title = "Analysis" if data.analysis else "Selected run"
    return {
        "cards": [("Dataset", facts(dataset)), ("Model", facts(data.model)), (title, facts(run))],
        "quarantined": data.dataset.get("quarantined") or [],
        "command": data.command,
    }


def population(page: Page) -> dict[str, Any] | None:
    """Who the numbers are about, and who was left out."""
    data = page.data
    if not data.population:
        return None
    missing = data.missingness
    rows = []
    if missing is not None and missing["n_left_out"].any():
        rows = [row for row in missing.itertuples(index=False) if row.n_given]
    return {"facts": facts(data.population), "left_out": rows[:200]}


def cohort(page: Page) -> dict[str, Any] | None:
    """Counts by group, split and label."""
    cohort, shown = page.data.cohort, page.selected.groups
    if cohort.empty:
        return None
    present = dict.fromkeys(cohort["split"])
    splits = [split for split in SPLITS if split in present] or list(present)
    counts = cohort.groupby(["attribute", "group", "split", "label"], sort=False)[
        ["n_images", "n_patients"]
    ].sum()
    lookup = {key: (int(images), int(patients)) for key, images, patients in counts.itertuples()}
    tables = []
    for attribute, rows in cohort.groupby("attribute", sort=False):
        hidden = set(page.selected.all_groups(attribute)) - set(shown(attribute))
        names = [group for group in dict.fromkeys(rows["group"]) if group not in hidden]
        groups = sorted(names, key=lambda group: group == "missing")
        lines: list[tuple] = [
            (g, [[lookup.get((attribute, g, s, y), (0, 0)) for y in (0, 1)] for s in splits])
            for g in groups
        ]
        total = rows.groupby(["split", "label"])["n_images"].sum().to_dict()
        # Images add up over groups; patients need not.
        sums = [[(int(total.get((s, y), 0)), None) for y in (0, 1)] for s in splits]
        lines.append(("total", sums))
        tables.append((attribute, lines, len(hidden)))
    names = page.data.dataset.get("classes") or ["negative", "positive"]
    return {"splits": splits, "tables": tables, "class_names": names, "styles": page.styles}


def reading(page: Page) -> dict[str, Any]:
    """Words on intervals, gaps, tests and metrics."""
    selected = page.selected
    names = selected.metrics
    gaps = [(attribute, name) for attribute in selected.attributes for name in names]
    return {
        "metrics": [metric(name) for name in names],
        "n_gaps": sum(selected.estimate(a, name, GAP).known for a, name in gaps),
        "tested": any(finite(selected.estimate(a, name, GAP).p_value) for a, name in gaps),
        "has_threshold": bool(page.data.thresholds),
        "overall": OVERALL,
        "compares_methods": page.compared is not None,
    }


def settings(page: Page) -> dict[str, Any]:
    """Settings and versions."""
    return {
        "tables": [
            ("Settings", flat(page.data.config)),
            ("Versions and machine", flat(page.data.environment)),
        ]
    }
