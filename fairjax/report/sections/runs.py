"""Many runs: utility against fairness."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fairjax.report import figures, svg
from fairjax.report.cells import metric
from fairjax.report.sections.common import Page
from fairjax.report.selected import GAP, OVERALL, WORST, Selected
from fairjax.report.tables import distribution, same_settings

_COLOUR_BY = ("method", "usage", "strength", "learning_rate", "weight_decay")


def runs(page: Page) -> dict[str, Any] | None:
    """Every run of a sweep."""
    if page.models or "prompt" in page.data.results:  # prompts have a section of their own
        return None
    results, selected, name = page.data.results, page.selected, page.selected.primary
    rows = results[(results["metric"] == name) & results["group"].isin([OVERALL, GAP, WORST])]
    if rows["run"].nunique() < 2:
        return None
    by = next((key for key in _COLOUR_BY if key in rows and rows[key].nunique() > 1), None)
    kind, legend = _kinds(rows.drop_duplicates("run").set_index("run"), by)
    wide = rows.pivot_table(index="run", columns=["attribute", "group"], values="value", sort=False).reindex(kind.index)
    label, blocks = metric(name).short, []
    for place, attribute in enumerate(selected.attributes):
        x = (attribute, OVERALL)
        pair = []
        for group, title in ((GAP, f"{label} gap between groups"), (WORST, f"{label} of the worst group")):
            if x not in wide or (attribute, group) not in wide:
                continue
            cells = selected.cell(attribute, name, OVERALL), selected.cell(attribute, name, group)
            axes = (f"{label} overall", title)
            points = (wide[x].to_numpy(), wide[attribute, group].to_numpy(), kind.to_numpy())
            tokens = [token for token, _ in legend]
            pair.append(figures.runs_scatter(f"runs{place}-{group}", *points, tokens, cells, axes))
        if pair:
            blocks.append((attribute, pair))
    return {
        "blocks": blocks,
        "legend": legend,
        "by": str(by or "").replace("_", " "),
        "n_runs": len(kind),
        "label": label,
        "spread": _spread(rows, selected),
    }


def _kinds(runs: pd.DataFrame, by: str | None) -> tuple[pd.Series, list[tuple[str, str]]]:
    """Returns the colour index of each run, and (token, label) of each colour: a ramp for numbers, hues for names."""
    if by is None:
        return pd.Series(0, runs.index), [("accent", "all runs")]
    values = runs[by]
    levels = sorted(values.dropna().unique())
    numeric = pd.api.types.is_numeric_dtype(values)
    tokens = list(svg.RAMP if numeric else svg.GROUPS)
    if not numeric:
        labels = {tokens[i % len(tokens)]: str(level) for i, level in enumerate(levels[: len(tokens)])}
        places = {level: i % len(tokens) for i, level in enumerate(levels)}
    else:
        step = max(len(levels) - 1, 1)
        places = {level: round(i * (len(tokens) - 1) / step) for i, level in enumerate(levels)}
        labels = {}
        for i, token in enumerate(tokens):
            ends = [level for level in levels if places[level] == i]
            if ends:
                labels[token] = f"{ends[0]:g}" if len(ends) == 1 else f"{ends[0]:g} – {ends[-1]:g}"
    used = [token for token in tokens if token in labels]
    index = {token: i for i, token in enumerate(used)}
    kind = values.map(lambda level: index[tokens[places[level]]] if pd.notna(level) else 0).astype(int)
    return kind, [(token, labels[token]) for token in used]


def _spread(rows: pd.DataFrame, selected: Selected) -> list[tuple]:
    """Returns attribute, group, the selected run's cell, and the distributions over its seeds and over all runs."""
    over_runs, over_seeds = distribution(rows), distribution(rows[same_settings(rows, selected.row)])
    lines = []
    for attribute, name, group in over_runs.index:
        cell = selected.cell(attribute, name, group)
        lines.append(
            (attribute, group, cell, over_seeds.loc[attribute, name, group], over_runs.loc[attribute, name, group])
        )
    return lines
