"""How metrics are displayed: labels, meanings, order."""

from __future__ import annotations

from typing import NamedTuple

from fairjax.metrics.table import METRICS


class Display(NamedTuple):
    """How a metric is displayed.

    Attributes:
      short: label of a column.
      label: title of a figure.
      meaning: one line for readers who do not know it.
      higher_is_better: None where neither end is better in itself.
      chance: its value for a useless model; None where that is not known.
    """

    short: str
    label: str
    meaning: str
    higher_is_better: bool | None
    chance: float | None


# Short label and meaning, in order of display. Other metrics come after, with the label and formula
# of their row in `METRICS`.
DISPLAYED = {
    "dice": (
        "Dice",
        "the overlap of predicted and true mask, 1 where they are the same; the mean over cases",
    ),
    "auc": ("AUC", "the chance that a random positive scores above a random negative"),
    "tpr": ("TPR", "sensitivity: the fraction of positives that are found at the threshold"),
    "tnr": ("TNR", "specificity: the fraction of negatives that are cleared at the threshold"),
    "ppv": ("PPV", "the fraction of positive calls that are right"),
    "npv": ("NPV", "the fraction of negative calls that are right"),
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
    "acc": ("Accuracy", "the fraction that is classified correctly at the threshold"),
    "bce": ("Log loss", "the binary cross-entropy of the predicted probabilities"),
    "auprc": ("AUPRC", "the mean precision over recall; its chance level is the prevalence"),
    "brier": ("Brier", "the mean squared error of the predicted probabilities"),
}


def metric(name: str) -> Display:
    """Returns how metric `name` is displayed; one that is in no table keeps its own name."""
    row = METRICS.get(name)
    label = row.label if row else name.replace("_", " ")
    short, meaning = DISPLAYED.get(name, (label, row.source if row else ""))
    better, chance = (row.higher_is_better, row.chance) if row else (True, None)
    return Display(short, label, meaning, better, chance)
