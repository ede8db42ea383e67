"""What each metric is called, a number with its interval and sample, and where such cells are found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from fairjax.errors import UserError
from fairjax.metrics.disparity import DISPARITIES
from fairjax.metrics.table import METRICS

if TYPE_CHECKING:
    import pandas as pd

ALL, OVERALL, GAP, WORST = "all", "overall", "gap", "worst"
SUMMARIES = frozenset({OVERALL, *DISPARITIES})  # in the column `group`; any other is a group or a difference of two
DIFFERENCE = " − "
HYPER_PARAMETERS = ("dataset", "model", "usage", "method", "learning_rate", "weight_decay", "policy")


class Display(NamedTuple):
    """How a metric is shown.

    Attributes:
      short: heads a column.
      label: heads a figure.
      meaning: for those who do not know it.
      higher_is_better: None where neither end is better in itself.
      chance: its value for a useless model, where that is known.
    """

    short: str
    label: str
    meaning: str
    higher_is_better: bool | None
    chance: float | None


# In order of display: short label, and meaning. Other metrics come after, with the label and formula of their own.
_SAID = {
    "auc": ("AUC", "the chance that a random positive image scores above a random negative one"),
    "tpr": ("TPR", "the share of positives that are found at the threshold"),
    "tnr": ("TNR", "the share of negatives that are cleared at the threshold"),
    "ece": ("ECE", "the mean distance between predicted probability and observed frequency, over 10 bins"),
    "acc": ("Accuracy", "the share of images that are classified correctly at the threshold"),
    "bce": ("Log loss", "the binary cross-entropy of the predicted probabilities"),
    "auprc": ("AUPRC", "the mean precision over recall; its chance level is the prevalence"),
    "brier": ("Brier", "the mean squared error of the predicted probabilities"),
    "ppv": ("PPV", "the share of positive calls that are right"),
    "npv": ("NPV", "the share of negative calls that are right"),
}
_CHANCE = {"auc": 0.5}


def metric(name: str) -> Display:
    """Returns how metric `name` is displayed; one that is in no table keeps its own name."""
    row = METRICS.get(name)
    label = row.label if row else name.replace("_", " ")
    short, meaning = _SAID.get(name, (label, row.source if row else ""))
    return Display(short, label, meaning, row.higher_is_better if row else True, _CHANCE.get(name))


def finite(value: float) -> bool:
    """Whether `value` is a number that can be shown."""
    return value is not None and math.isfinite(value)


def decimal(value: float, digits: int = 3) -> str:
    """Returns `value` with a true minus sign, "<0.001" for a positive number that would round to 0, and "–" for NaN."""
    if not finite(value):
        return "–"
    smallest = 10.0**-digits
    if 0 < value < smallest / 2:
        return f"<{smallest:.{digits}f}"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def count(value: float) -> str:
    """Returns a count with thousands separators, or "–" where it is unknown."""
    return f"{int(value):,}" if finite(value) else "–"


@dataclass(frozen=True)
class Cell:
    """One number of `results` with its interval, its sample and what became of it."""

    value: float
    low: float
    high: float
    n: float
    n_positive: float
    status: str = "ok"
    n_invalid: float = 0

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return finite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return finite(self.low) and finite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0 (for a gap or a difference)."""
        return self.known and self.has_interval and (self.low > 0 or self.high < 0)

    @property
    def remark(self) -> str:
        """What the status says of a number that is there, e.g. that a gap is "without other"; or nothing."""
        return self.status if self.known and self.status != "ok" else ""

    @property
    def reason(self) -> str:
        """Why there is no number."""
        return self.status if self.status != "ok" else "no number was recorded"

    def interval(self, digits: int = 3) -> str:
        """Returns "[low, high]"."""
        if not self.has_interval:
            return "[no interval]"
        return f"[{decimal(self.low, digits)}, {decimal(self.high, digits)}]"

    def text(self, digits: int = 3) -> str:
        """Returns "value [low, high]", or "–" where there is no number."""
        return f"{decimal(self.value, digits)} {self.interval(digits)}" if self.known else "–"


_ABSENT = Cell(math.nan, math.nan, math.nan, math.nan, math.nan, "not computed")


class Selected:
    """The numbers of one run, found by attribute, metric and group.

    Args:
      results: the tidy table of `ReportData`.
      run: a value of its column `run`.

    Raises:
      UserError: the table has no such run.
    """

    def __init__(self, results: pd.DataFrame, run: str):
        rows = results[results["run"] == run]
        if rows.empty:
            raise UserError(
                f"the results hold no run {run!r}; choose one of the {results['run'].nunique()} in column `run`"
            )
        self.name = run
        self.row = rows.iloc[0]
        self._cells: dict[tuple[str, str, str], Cell] = {}
        self._names: dict[str, list[str]] = {}
        columns = ["value", "ci_low", "ci_high", "n", "n_positive", "status", "n_invalid"]
        keys = rows[["attribute", "metric", "group"]].astype(str).itertuples(index=False)
        for (attribute, name, group), cell in zip(keys, rows[columns].itertuples(index=False)):
            self._cells[attribute, name, group] = Cell(*cell)
            names = self._names.setdefault(attribute, [])
            if group not in names:
                names.append(group)

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics of the run, in order of display."""
        present = dict.fromkeys(name for _, name, _ in self._cells)
        return [name for name in _SAID if name in present] + [name for name in present if name not in _SAID]

    @property
    def primary(self) -> str:
        """The metric that the verdict speaks of."""
        return self.metrics[0]

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
        names = self._names.get(attribute, [])
        pairs = {a + DIFFERENCE + b for a in names for b in names if a != b}
        return [name for name in names if name in pairs]

    def groups(self, attribute: str) -> list[str]:
        """Names of the groups of `attribute`, in the order of the results."""
        skip = SUMMARIES.union(self.differences(attribute))
        return [name for name in self._names.get(attribute, []) if name not in skip]

    def disparities(self, attribute: str) -> list[str]:
        """Names of the numbers that are made of all groups of `attribute`, e.g. "gap"."""
        return [name for name in DISPARITIES if name in self._names.get(attribute, [])]

    def cell(self, attribute: str, name: str, group: str) -> Cell:
        """Returns metric `name` in `group`; a cell without a number where the results have no such row."""
        return self._cells.get((attribute, name, group), _ABSENT)

    def overall(self, name: str) -> Cell:
        """Returns metric `name` over all test images; without such a row, over the first attribute's known samples."""
        for attribute in self._names:
            if (attribute, name, OVERALL) in self._cells and (attribute == ALL or not self.has_all):
                return self._cells[attribute, name, OVERALL]
        return _ABSENT

    def sizes(self, attribute: str, group: str) -> tuple[float, float]:
        """Returns (n, n_positive) of a group, from the first metric that knows them."""
        cells = [self.cell(attribute, name, group) for name in self.metrics]
        known = next((cell for cell in cells if finite(cell.n)), _ABSENT)
        return known.n, known.n_positive

    def without_number(self) -> list[tuple[str, str, str, str]]:
        """Returns (attribute, group, which numbers, reason) of what could not be computed, differences apart."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for attribute in self._names:
            skip = set(self.differences(attribute))
            for group in (g for g in self._names[attribute] if g not in skip):
                for name in self.metrics:
                    cell = self._cells.get((attribute, name, group))
                    if cell is not None and not cell.known:
                        found.setdefault((attribute, group, cell.reason), []).append(metric(name).short)
        every = len(self.metrics)
        return [
            (attribute, group, "numbers" if len(labels) == every else comma_list(labels), reason)
            for (attribute, group, reason), labels in found.items()
        ]


def short(name: str, most: int = 20) -> str:
    """Returns a label of at most `most` printable characters, cut in its middle: names often differ at the end."""
    name = "".join(letter if letter.isprintable() else "�" for letter in name)
    head = most // 2
    return name if len(name) <= most else f"{name[:head].rstrip()}…{name[head + 1 - most :].lstrip()}"


def comma_list(items: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last
