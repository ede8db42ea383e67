"""What each metric is called, and a number with its interval and sample."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fairjax.metrics.table import METRICS


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


# In order of display: short label, and meaning. Other metrics come after, with the label and
# formula of their own.
SAID = {
    "dice": (
        "Dice",
        "the overlap of predicted and true mask, 1 where they are the same; the mean over cases",
    ),
    "auc": ("AUC", "the chance that a random positive scores above a random negative"),
    "tpr": ("TPR", "sensitivity: the share of positives that are found at the threshold"),
    "tnr": ("TNR", "specificity: the share of negatives that are cleared at the threshold"),
    "ppv": ("PPV", "the share of positive calls that are right"),
    "npv": ("NPV", "the share of negative calls that are right"),
    "calibration_slope": (
        "Cal. slope",
        "1 is calibrated; below 1 the probabilities are too extreme",
    ),
    "calibration_intercept": (
        "Cal. intercept",
        "0 is calibrated; above 0 the probabilities are too low",
    ),
    "net_benefit": (
        "Net benefit",
        "true positives less false ones, weighed by the odds of the threshold, per case",
    ),
    "ece": (
        "ECE",
        "the mean distance between predicted probability and observed frequency, over 10 bins",
    ),
    "acc": ("Accuracy", "the share that is classified correctly at the threshold"),
    "bce": ("Log loss", "the binary cross-entropy of the predicted probabilities"),
    "auprc": ("AUPRC", "the mean precision over recall; its chance level is the prevalence"),
    "brier": ("Brier", "the mean squared error of the predicted probabilities"),
}


def metric(name: str) -> Display:
    """Returns how metric `name` is displayed; one that is in no table keeps its own name."""
    row = METRICS.get(name)
    label = row.label if row else name.replace("_", " ")
    short, meaning = SAID.get(name, (label, row.source if row else ""))
    better, chance = (row.higher_is_better, row.chance) if row else (True, None)
    return Display(short, label, meaning, better, chance)


def finite(value: float) -> bool:
    """Whether `value` is a number that can be shown."""
    return value is not None and math.isfinite(value)


def decimal(value: float, digits: int = 3) -> str:
    """Returns `value` with a true minus sign, "<0.001" for a positive number that would round to 0,
    and "–" for NaN.
    """
    if not finite(value):
        return "–"
    smallest = 10.0**-digits
    if 0 < value < smallest / 2:
        return f"<{smallest:.{digits}f}"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Returns a difference with its sign, e.g. "+0.012" or "−0.000", and "–" for NaN."""
    if not finite(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−") if value else f"{0:.{digits}f}"


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
    p_value: float = math.nan
    p_holm: float = math.nan
    expects_interval: bool = True  # whether others of its run have one

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
    def p_text(self) -> str:
        """Returns "p = 0.012, 0.048 corrected" of a test, or nothing."""
        if not finite(self.p_value):
            return ""
        corrected = f", {decimal(self.p_holm)} corrected" if finite(self.p_holm) else ""
        return f"p {'= ' if self.p_value >= 5e-4 else ''}{decimal(self.p_value)}{corrected}"

    @property
    def remark(self) -> str:
        """What the status says of a number that is there, e.g. that a gap is "without other"; or
        nothing.
        """
        return self.status if self.known and self.status != "ok" else ""

    @property
    def reason(self) -> str:
        """Why there is no number."""
        return self.status if self.status != "ok" else "no number was recorded"

    def interval(self, digits: int = 3) -> str:
        """Returns "[low, high]"."""
        if not self.has_interval:
            return "[no interval]" if self.expects_interval else ""
        return f"[{decimal(self.low, digits)}, {decimal(self.high, digits)}]"

    def text(self, digits: int = 3) -> str:
        """Returns "value [low, high]", or "–" where there is no number."""
        return (
            f"{decimal(self.value, digits)} {self.interval(digits)}".rstrip() if self.known else "–"
        )


ABSENT = Cell(math.nan, math.nan, math.nan, math.nan, math.nan, "not computed")


def short(name: str, most: int = 20) -> str:
    """Returns a label of at most `most` printable characters, cut in its middle: names often differ
    at the end.
    """
    name = "".join(letter if letter.isprintable() else "�" for letter in name)
    head = most // 2
    return (
        name if len(name) <= most else f"{name[:head].rstrip()}…{name[head + 1 - most :].lstrip()}"
    )


def comma_list(items: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def some(items: list[str], most: int = 8) -> str:
    """Returns "a, b and c", or of too many "a, b, … and 12 more"."""
    return (
        comma_list(items)
        if len(items) <= most
        else f"{', '.join(items[:most])} and {len(items) - most} more"
    )
