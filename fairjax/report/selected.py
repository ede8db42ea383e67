"""The numbers of one run, found by attribute, metric and group."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from fairjax.metrics.disparity import CRITERION, DISPARITIES
from fairjax.report.cells import ABSENT, SAID, Cell, comma_list, finite, metric, some
from fairjax.utils.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ALL, OVERALL, GAP, WORST = "all", "overall", "gap", "worst"
SUMMARIES = frozenset(
    {OVERALL, *DISPARITIES}
)  # in the column `group`; any other is a group or a difference of two
DIFFERENCE = " − "
MOST_GROUPS, EXTREMES = (
    40,
    5,
)  # groups of an attribute that are shown, and among them how many lowest and highest
HYPER_PARAMETERS = (
    "dataset",
    "model",
    "usage",
    "method",
    "sensitive",
    "strength",
    "learning_rate",
    "weight_decay",
    "policy",
)


_COLUMNS = {"value": "value", "ci_low": "low", "ci_high": "high"}  # column → field of a cell
_COLUMNS |= {name: name for name in ("n", "n_positive", "status", "n_invalid", "p_value", "p_holm")}
_FIELDS = tuple(_COLUMNS.values())


class Selected:
    """The numbers of one run, found by attribute, metric and group.

    Args:
      results: the tidy table of `ReportData`.
      run: a value of its column `run`.
      primary: the metric to speak of; "" for the first in order of display.

    Raises:
      UserError: the table has no such run.
    """

    def __init__(self, results: pd.DataFrame, run: str, primary: str = ""):
        rows = results[results["run"] == run]
        if rows.empty:
            raise UserError(
                f"the results hold no run {run!r}; choose one of the {results['run'].nunique()} in column `run`"
            )
        self.name, self._primary = run, primary
        self.row = rows.iloc[0]
        self._cells: dict[tuple[str, str, str], Cell] = {}
        self._names: dict[str, dict[str, None]] = {}
        self._shown: dict[str, list[str]] = {}
        self.criteria: dict[str, dict[str, Cell]] = {}
        keys = rows[["attribute", "metric", "group"]].astype(str).itertuples(index=False)
        cells = rows.reindex(columns=list(_COLUMNS)).itertuples(index=False)
        self.has_intervals = bool(rows["ci_low"].notna().any())
        for (attribute, name, group), cell in zip(keys, cells):
            if group == CRITERION:
                self.criteria.setdefault(name, {})[attribute] = Cell(
                    **dict(zip(_FIELDS, cell)), expects_interval=self.has_intervals
                )
                continue
            self._cells[attribute, name, group] = Cell(
                **dict(zip(_FIELDS, cell)), expects_interval=self.has_intervals
            )
            self._names.setdefault(attribute, {})[group] = None

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics of the run, in order of display."""
        present = dict.fromkeys(name for _, name, _ in self._cells)
        return [name for name in SAID if name in present] + [
            name for name in present if name not in SAID
        ]

    @property
    def primary(self) -> str:
        """The metric that the verdict speaks of."""
        return self._primary if self._primary in self.metrics else self.metrics[0]

    @property
    def has_all(self) -> bool:
        """Whether there are numbers over all test images, of known group or not."""
        return ALL in self._names

    @property
    def attributes(self) -> list[str]:
        """Attributes that split the samples into groups, in the order of the results."""
        return [name for name in self._names if name != ALL]

    def differences(self, attribute: str) -> list[str]:
        """Names "a − b" of the differences between two groups of `attribute`."""
        names = self._names.get(attribute, {})
        return [name for name in names if DIFFERENCE in name and _is_pair(name, names)]

    def all_groups(self, attribute: str) -> list[str]:
        """Names of the groups of `attribute`, in the order of the results."""
        skip = SUMMARIES.union(self.differences(attribute))
        return [name for name in self._names.get(attribute, {}) if name not in skip]

    def groups(self, attribute: str) -> list[str]:
        """Names of the groups that are shown: all, or of too many the largest ones, the lowest and
        the highest.
        """
        return self._shown.setdefault(attribute, self._choose_groups(attribute))

    def hidden(self, attribute: str) -> int:
        """How many groups are not shown."""
        return len(self.all_groups(attribute)) - len(self.groups(attribute))

    def _choose_groups(self, attribute: str) -> list[str]:
        names = self.all_groups(attribute)
        if len(names) <= MOST_GROUPS:
            return names
        by_value = sorted(
            (name for name in names if self.cell(attribute, self.primary, name).known),
            key=lambda name: self.cell(attribute, self.primary, name).value,
        )
        ends = [*by_value[:EXTREMES], *by_value[-EXTREMES:]]
        largest = sorted(set(names) - set(ends), key=lambda name: -self.sizes(attribute, name)[0])
        shown = {*ends, *largest[: MOST_GROUPS - len(ends)]}
        return [name for name in names if name in shown]

    def disparities(self, attribute: str) -> list[str]:
        """Names of the numbers that are made of all groups of `attribute`, e.g. "gap"."""
        return [name for name in DISPARITIES if name in self._names.get(attribute, {})]

    def cell(self, attribute: str, name: str, group: str) -> Cell:
        """Returns metric `name` in `group`; a cell without a number where the results have no such
        row.
        """
        return self._cells.get((attribute, name, group), ABSENT)

    def overall(self, name: str) -> Cell:
        """Returns metric `name` over all test images; without such a row, over the first
        attribute's known samples.
        """
        for attribute in self._names:
            if (attribute, name, OVERALL) in self._cells and (attribute == ALL or not self.has_all):
                return self._cells[attribute, name, OVERALL]
        return ABSENT

    def sizes(self, attribute: str, group: str) -> tuple[float, float]:
        """Returns (n, n_positive) of a group, from the first metric that knows them."""
        cells = (self.cell(attribute, name, group) for name in self.metrics)
        known = next((cell for cell in cells if finite(cell.n)), ABSENT)
        return known.n, known.n_positive

    @property
    def has_classes(self) -> bool:
        """Whether cases are positive or negative, which those of a segmentation are not."""
        return any(finite(cell.n_positive) for cell in self._cells.values())

    def n_tests(self, name: str) -> int:
        """How many gaps of a metric were tested; p-values are corrected for that many."""
        return sum(finite(self.cell(attribute, name, GAP).p_value) for attribute in self.attributes)

    def without_number(self) -> list[tuple[str, str, str, str]]:
        """Returns (attribute, groups, which numbers, reason) of what could not be computed,
        differences apart.
        """
        found: dict[tuple[str, str, str], list[str]] = {}
        for (attribute, name, group), cell in self._cells.items():
            if not cell.known and (
                DIFFERENCE not in group or not _is_pair(group, self._names[attribute])
            ):
                found.setdefault((attribute, group, cell.reason), []).append(metric(name).short)
        every = len(self.metrics)
        groups: dict[tuple[str, str, str], list[str]] = {}
        for (attribute, group, reason), labels in found.items():
            what = "numbers" if len(labels) == every else comma_list(labels)
            groups.setdefault((attribute, what, reason), []).append(group.replace("_", " "))
        return [
            (attribute, some(names), what, reason)
            for (attribute, what, reason), names in groups.items()
        ]


def _is_pair(name: str, names: Mapping[str, None]) -> bool:
    """Whether a name is "a − b" of two names."""
    places = [place.start() for place in re.finditer(re.escape(DIFFERENCE), name)]
    return any(
        name[:place] in names and name[place + len(DIFFERENCE) :] in names for place in places
    )
