"""The sections of the report, in order: name, title, and the builder of its template's variables.

The template of section `x` is templates/x.html. A builder that returns None leaves its section out.
"""

from __future__ import annotations

from typing import Any

from fairjax.report import verdict
from fairjax.report.display import metric
from fairjax.report.sections import curves, methods, numbers, prompts, runs, what
from fairjax.report.sections.common import Page, Section

SECTIONS = (
    Section("what", "What was run", what.what),
    Section("population", "Population and missing data", what.population),
    Section("cohort", "Who is in the data", what.cohort),
    Section("groups", "Performance by group", numbers.groups),
    Section("criteria", "Fairness criteria", numbers.criteria),
    Section("models", "Models compared", numbers.models),
    Section("methods", "Methods compared", methods.methods),
    Section("tradeoff", "Trade-off", methods.tradeoff),
    Section("harm", "Who is worse off", methods.harm),
    Section("seeds", "Spread over seeds", methods.seeds),
    Section("numbers", "Numbers", numbers.numbers),
    Section("prompts", "Prompts", prompts.prompts),
    Section("distribution", "Distribution by group", curves.distribution),
    Section("cases", "Worst cases", prompts.cases),
    Section("roc", "ROC curves", curves.roc),
    Section("calibration", "Calibration", curves.calibration),
    Section("decision", "Decision curves", curves.decision),
    Section("runs", "Utility and fairness", runs.runs),
    Section("reading", "How to read this page", what.reading),
    Section("settings", "Settings and versions", what.settings),
)


def header(page: Page) -> dict[str, Any]:
    """Returns the variables of the top of the page: verdict, key figures, and warnings."""
    selected, sample = page.selected, page.data.sample
    return {
        "headline": verdict.headline(selected, sample),
        "verdicts": verdict.gap_verdicts(selected),
        "primary": metric(selected.primary),
        "overall": selected.overall(selected.primary),
        "notes": page.data.notes,
        "without": selected.without_number(),
        "small_groups": verdict.small_groups(selected, sample),
    }
