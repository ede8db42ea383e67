"""The numbers of one run, found by attribute, metric and group."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from fairjax.metrics.disparity import CRITERION, DISPARITIES
from fairjax.report.display import DISPLAYED, metric
from fairjax.report.estimate import ABSENT, Estimate
from fairjax.report.format import comma_list, finite, some
from fairjax.utils.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ALL, OVERALL, GAP, WORST = "all", "overall", "gap", "worst"
# Values of the column `group`; any other is a group or a difference of two.
SUMMARIES = frozenset({OVERALL, *DISPARITIES})
DIFFERENCE = " − "
MAX_GROUPS = 40  # groups of an attribute that are shown
EXTREMES = 5  # among them, how many of the lowest and of the highest
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
# Column → field of an estimate.
_COLUMNS = {"value": "value", "ci_low": "low", "ci_high": "high"}
_COLUMNS |= {name: name for name in ("n", "n_positive", "status", "n_invalid", "p_value", "p_holm")}
_FIELDS = tuple(_COLUMNS.values())


class Selected:
    """The numbers of one run, found by attribute, metric and group.

    Args:
      results: the tidy table of `ReportData`.
      run: a value of its column `run`.
      primary: the metric of the verdict; "" for the first in order of display.

    Raises:
      UserError: the table has no such run.
    """

    def __init__(self, results: pd.DataFrame, run: str, primary: str = ""):
        rows = results[results["run"] == run]
        if rows.empty:
            n_runs = results["run"].nunique()
            raise UserError(
                f"the results hold no run {run!r}; choose one of the {n_runs} in column `run`"
            )
        self.name, self._primary = run, primary
        self.row = rows.iloc[0]
        self._estimates: dict[tuple[str, str, str], Estimate] = {}
        self._names: dict[str, dict[str, None]] = {}
        self._shown: dict[str, list[str]] = {}
        self.criteria: dict[str, dict[str, Estimate]] = {}
        keys = rows[["attribute", "metric", "group"]].astype(str).itertuples(index=False)
        values = rows.reindex(columns=list(_COLUMNS)).itertuples(index=False)
        self.has_intervals = bool(rows["ci_low"].notna().any())
        for (attribute, name, group), fields in zip(keys, values):
            estimate = Estimate(**dict(zip(_FIELDS, fields)), expects_interval=self.has_intervals)
            if group == CRITERION:
                self.criteria.setdefault(name, {})[attribute] = estimate
                continue
            self._estimates[attribute, name, group] = estimate
            self._names.setdefault(attribute, {})[group] = None

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics of the run, in order of display."""
        present = dict.fromkeys(name for _, name, _ in self._estimates)
        return [name for name in DISPLAYED if name in present] + [
            name for name in present if name not in DISPLAYED
        ]

    @property
    def primary(self) -> str:
        """The metric that the verdict is about."""
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
        return [name for name in names if _is_pair(name, names)]

    def all_groups(self, attribute: str) -> list[str]:
        """Names of the groups of `attribute`, in the order of the results."""
        skip = SUMMARIES.union(self.differences(attribute))
        return [name for name in self._names.get(attribute, {}) if name not in skip]

    def groups(self, attribute: str) -> list[str]:
        """Names of the groups that are shown: all, or the largest, the lowest and the highest."""
        return self._shown.setdefault(attribute, self._select_groups(attribute))

    def hidden(self, attribute: str) -> int:
        """How many groups are not shown."""
        return len(self.all_groups(attribute)) - len(self.groups(attribute))

    def _select_groups(self, attribute: str) -> list[str]:
        names = self.all_groups(attribute)
        if len(names) <= MAX_GROUPS:
            return names
        by_value = sorted(
            (name for name in names if self.estimate(attribute, self.primary, name).known),
            key=lambda name: self.estimate(attribute, self.primary, name).value,
        )
        ends = [*by_value[:EXTREMES], *by_value[-EXTREMES:]]
        largest = sorted(set(names) - set(ends), key=lambda name: -self.sizes(attribute, name)[0])
        shown = {*ends, *largest[: MAX_GROUPS - len(ends)]}
        return [name for name in names if name in shown]

    def disparities(self, attribute: str) -> list[str]:
        """Names of the numbers that are made of all groups of `attribute`, e.g. "gap"."""
        return [name for name in DISPARITIES if name in self._names.get(attribute, {})]

    def estimate(self, attribute: str, name: str, group: str) -> Estimate:
        """Returns metric `name` in `group`; without a number if the results have no such row."""
        return self._estimates.get((attribute, name, group), ABSENT)

    def overall(self, name: str) -> Estimate:
        """Returns metric `name` over all test images, or the first attribute's known samples."""
        for attribute in self._names:
            if (attribute, name, OVERALL) in self._estimates and (
                attribute == ALL or not self.has_all
            ):
                return self._estimates[attribute, name, OVERALL]
        return ABSENT

    def sizes(self, attribute: str, group: str) -> tuple[float, float]:
        """Returns (n, n_positive) of a group, from the first metric that knows them."""
        found = (self.estimate(attribute, name, group) for name in self.metrics)
        known = next((estimate for estimate in found if finite(estimate.n)), ABSENT)
        return known.n, known.n_positive

    @property
    def has_classes(self) -> bool:
        """Whether cases are positive or negative, which those of a segmentation are not."""
        return any(finite(estimate.n_positive) for estimate in self._estimates.values())

    def n_tests(self, name: str) -> int:
        """How many gaps of a metric were tested; p-values are corrected for that many."""
        return sum(
            finite(self.estimate(attribute, name, GAP).p_value) for attribute in self.attributes
        )

    def without_number(self) -> list[tuple[str, str, str, str]]:
        """Returns (attribute, groups, which numbers, reason) of what could not be computed.

        Differences between groups are left out.
        """
        found: dict[tuple[str, str, str], list[str]] = {}
        for (attribute, name, group), estimate in self._estimates.items():
            if estimate.known or _is_pair(group, self._names[attribute]):
                continue
            found.setdefault((attribute, group, estimate.reason), []).append(metric(name).short)
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
    starts = (match.start() for match in re.finditer(re.escape(DIFFERENCE), name))
    return any(name[:at] in names and name[at + len(DIFFERENCE) :] in names for at in starts)
