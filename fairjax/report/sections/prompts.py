"""Prompted segmentation: every prompt by group, and single cases."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fairjax.report.display import metric
from fairjax.report.sections.common import Page
from fairjax.report.selected import ALL, GAP, OVERALL, Selected


def prompts(page: Page) -> dict[str, Any] | None:
    """The primary metric of every prompt, by group."""
    results = page.data.results
    if "prompt" not in results:
        return None
    averaged = results[results["seed"].isna()]
    runs = {run: Selected(averaged, run) for run in dict.fromkeys(averaged["run"])}
    name, blocks = page.selected.primary, []
    for attribute in page.selected.attributes or [ALL]:
        groups = [OVERALL, *page.selected.groups(attribute)]
        rows = []
        for run in runs.values():
            estimates = [run.estimate(attribute, name, group) for group in groups]
            gap = run.estimate(attribute, name, GAP)
            rows.append((_name(run.row), run.row["selection"], estimates, gap))
        blocks.append((attribute, groups, rows))
    return {"blocks": blocks, "metric": metric(name), "spread": _spread(page)}


def _name(run: pd.Series) -> str:
    """Returns the prompt, after the method if the model was tuned."""
    return run["prompt"] if run["method"] == "frozen" else f"{run['method']}: {run['prompt']}"


def _spread(page: Page) -> list[tuple[str, str, float, float, int]]:
    """Returns prompt, selection, lowest and highest overall value, and draws of random prompts."""
    results = page.data.results
    drawn = results[results["seed"].notna() & (results["metric"] == page.selected.primary)]
    drawn = drawn[drawn["method"] == "frozen"]  # of tuned models the seeds are those of training
    drawn = drawn[(drawn["attribute"] == ALL) & (drawn["group"] == OVERALL)]
    by = drawn.groupby(["prompt", "selection"], sort=False)["value"]
    return [(*key, values.min(), values.max(), len(values)) for key, values in by]


def cases(page: Page) -> dict[str, Any] | None:
    """Images of the cases with the lowest values."""
    if not page.data.cases:
        return None
    return {"cases": page.data.cases, "metric": metric(page.selected.primary)}
