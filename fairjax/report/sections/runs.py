"""Many runs: utility against fairness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from fairjax.report import figures, svg
from fairjax.report.display import metric
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
    tokens_of = {}
    if by == "method":
        tokens_of = {name: style.token for name, style in page.method_styles.items()}
    kind, legend = _kinds(rows.drop_duplicates("run").set_index("run"), by, tokens_of)
    keys = ["attribute", "group"]
    wide = rows.pivot_table(index="run", columns=keys, values="value", sort=False)
    wide = wide.reindex(kind.index)
    tokens = [token for token, _ in legend]
    blocks = []
    for index, attribute in enumerate(selected.attributes):
        if found := _scatters(selected, attribute, index, wide, (kind, tokens)):
            blocks.append((attribute, found))
    return {
        "blocks": blocks,
        "legend": legend,
        "by": str(by or "").replace("_", " "),
        "n_runs": len(kind),
        "label": metric(name).short,
        "spread": _spread(rows, selected),
    }


def _scatters(
    selected: Selected,
    attribute: str,
    index: int,
    wide: pd.DataFrame,
    colours: tuple[pd.Series, list[str]],
) -> list[Markup]:
    """Returns the figures of an attribute: utility against the gap, and against the worst group.

    Args:
      selected: the numbers of the selected run.
      attribute: the attribute.
      index: its index, which makes the figures' names unique.
      wide: values by run, and by (attribute, group).
      colours: index of each run's colour, and the colours.
    """
    name, (kind, tokens) = selected.primary, colours
    label = metric(name).short
    found = []
    for group, title in {GAP: "gap between groups", WORST: "of the worst group"}.items():
        x, y = (attribute, OVERALL), (attribute, group)
        if x in wide and y in wide:
            figure = figures.runs_scatter(
                f"runs{index}-{group}",
                wide[x].to_numpy(),
                wide[y].to_numpy(),
                kind.to_numpy(),
                tokens=tokens,
                selected=(
                    selected.estimate(attribute, name, OVERALL),
                    selected.estimate(attribute, name, group),
                ),
                labels=(f"{label} overall", f"{label} {title}"),
            )
            found.append(figure)
    return found


def _kinds(
    runs: pd.DataFrame, by: str | None, tokens_of: Mapping[str, str]
) -> tuple[pd.Series, list[tuple[str, str]]]:
    """Returns the colour index of each run, and (token, label) of each colour.

    Numbers have the colours of a ramp, names different hues.

    Args:
      runs: table with one row per run.
      by: the column that colours them; None for all alike.
      tokens_of: the colours of names that have one in other figures.
    """
    if by is None:
        return pd.Series(0, runs.index), [("accent", "all runs")]
    values = runs[by]
    levels = sorted(values.dropna().unique())
    numeric = pd.api.types.is_numeric_dtype(values)
    tokens = list(svg.RAMP if numeric else svg.GROUPS)
    step = max(len(levels) - 1, 1)
    token = {}
    for i, level in enumerate(levels):
        index = round(i * (len(tokens) - 1) / step) if numeric else i % len(tokens)
        token[level] = tokens_of.get(level, tokens[index])
    sharing: dict[str, list] = {}
    for level in levels:
        sharing.setdefault(token[level], []).append(level)
    order = {name: i for i, name in enumerate(sharing)}
    kind = values.map(lambda level: order[token[level]] if pd.notna(level) else 0).astype(int)
    return kind, [(name, _label(shared, numeric)) for name, shared in sharing.items()]


def _label(levels: list, numeric: bool) -> str:
    """Returns the label of a colour: a number or a range, or all the names that share it."""
    if not numeric:
        return ", ".join(map(str, levels))
    return f"{levels[0]:g}" if len(levels) == 1 else f"{levels[0]:g} – {levels[-1]:g}"


def _spread(rows: pd.DataFrame, selected: Selected) -> list[tuple]:
    """Returns attribute, group, the selected run's estimate, and the spread over seeds and runs."""
    over_runs = distribution(rows)
    over_seeds = distribution(rows[same_settings(rows, selected.row)])
    lines = []
    for index in over_runs.index:
        attribute, _, group = index
        spread = over_seeds.loc[index], over_runs.loc[index]
        lines.append((attribute, group, selected.estimate(*index), *spread))
    return lines
