"""Do the intervals hold the truth as often as they say? Many studies of a population whose metrics
are known.

Images have log-odds μ·y + u + e, with u ~ N(0, σ²) of the patient and e ~ N(0, 1) of the image.
Then the AUC is Φ(μ / √(2 (1 + σ²))), and the sensitivity at the log-odds c is Φ((μ − c) / √(1 +
σ²)). Patients have one to three images of one label and one group; who is in the study is fixed,
the scores are drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from fairjax.statistics import delong
from fairjax.statistics.evaluation import Evaluation

GROUPS = ("a", "b")
_IMAGES = (1, 2, 3)  # of a patient, in turn
_RUNS_AT_ONCE = 250

Found = dict[Any, tuple[np.ndarray, np.ndarray]]  # (metric, group) → ends of intervals


class Design(NamedTuple):
    """A population and a study of it.

    Attributes:
      n: images, half of them in either group.
      prevalence: fraction of positive patients.
      separation: μ of either group.
      patient_sd: σ.
      cut: decision threshold, as log-odds.
    """

    n: int
    prevalence: float = 0.3
    separation: tuple[float, float] = (1.8, 1.2)
    patient_sd: float = 0.7
    cut: float = 0.5

    @property
    def spread(self) -> float:
        """Standard deviation of the log-odds of one label."""
        return float(np.sqrt(1 + self.patient_sd**2))

    def truth(self) -> dict[tuple[str, str], float]:
        """(metric, group or difference) → its value in the population."""
        auc = stats.norm.cdf(np.array(self.separation) / (self.spread * np.sqrt(2)))
        tpr = stats.norm.cdf((np.array(self.separation) - self.cut) / self.spread)
        found: dict[tuple[str, str], float] = {}
        for metric, (a, b) in {"auc": auc, "tpr": tpr}.items():
            found |= {
                (metric, "a"): float(a),
                (metric, "b"): float(b),
                (metric, "a − b"): float(a - b),
            }
        return found


class Study(NamedTuple):
    """Who is in a study: (n,) codes of patients and groups, and labels."""

    patients: np.ndarray
    groups: np.ndarray
    labels: np.ndarray


def study(design: Design) -> Study:
    """Deals patients of one to three images to groups, and labels to patients."""
    parts = []
    for group in range(len(GROUPS)):
        sizes = np.resize(_IMAGES, design.n)
        n_patients = int(np.searchsorted(np.cumsum(sizes), design.n // len(GROUPS))) + 1
        positive = np.arange(n_patients) % round(1 / design.prevalence) == 0
        parts.append(np.stack([np.full(n_patients, group), positive, sizes[:n_patients]]))
    group, label, size = np.concatenate(parts, axis=1)
    patients = np.repeat(np.arange(len(size)), size)
    return Study(patients, group[patients], label[patients].astype(int))


def draw_scores(design: Design, who: Study, n_studies: int, seed: int = 0) -> np.ndarray:
    """(studies, n) probabilities."""
    rng = np.random.default_rng(seed)
    of_patient = rng.normal(0, design.patient_sd, (n_studies, who.patients[-1] + 1))[
        :, who.patients
    ]
    mean = np.array(design.separation)[who.groups] * who.labels
    return 1 / (1 + np.exp(-(mean + of_patient + rng.normal(size=of_patient.shape))))


def coverage(
    design: Design, n_studies: int, n_boot: int, interval: str = "percentile", seed: int = 0
) -> pd.DataFrame:
    """Fraction of studies whose intervals hold the truth.

    Args:
      design: the population and the study.
      n_studies: how many are simulated.
      n_boot: replicates of each.
      interval: `percentile` or `bca`; `delong` for the AUC alone.
      seed: seed of the scores.

    Returns:
      metric, group, truth, covered (fraction), width (mean), positives (images of one group).
    """
    who = study(design)
    scores = draw_scores(design, who, n_studies, seed)
    ends = (
        _delong(who, scores)
        if interval == "delong"
        else _bootstrap(design, who, scores, n_boot, interval)
    )
    rows = []
    for (metric, group), truth in design.truth().items():
        if (metric, group) in ends:
            low, high = ends[metric, group]
            covered = ((low <= truth) & (truth <= high)).mean()
            rows.append(
                (
                    metric,
                    group,
                    truth,
                    covered,
                    (high - low).mean(),
                    int(who.labels[who.groups == 0].sum()),
                )
            )
    return pd.DataFrame(rows, columns=["metric", "group", "truth", "covered", "width", "positives"])


def _bootstrap(design: Design, who: Study, scores: np.ndarray, n_boot: int, interval: str) -> Found:
    evaluation = Evaluation(
        who.labels,
        {"g": (who.groups, list(GROUPS))},
        who.labels.size,
        who.patients,
        metrics=("auc", "tpr"),
        n_boot=n_boot,
        interval=interval,
        min_group=1,
    )
    parts = [
        pd.DataFrame(
            evaluation.evaluate(
                scores[start : start + _RUNS_AT_ONCE], 1 / (1 + np.exp(-design.cut))
            )
        )
        for start in range(0, len(scores), _RUNS_AT_ONCE)
    ]
    table = pd.concat(parts)
    keyed = table[table["attribute"] == "g"].groupby(["metric", "group"])
    return {key: (of["ci_low"].to_numpy(), of["ci_high"].to_numpy()) for key, of in keyed}


def _delong(who: Study, scores: np.ndarray) -> Found:
    found: dict[tuple[str, str], list[Any]] = {("auc", name): [] for name in (*GROUPS, "a − b")}
    n_patients = who.patients[-1] + 1
    for run in scores:
        members = [who.groups == code for code in range(len(GROUPS))]
        (a, of_a), (b, of_b) = (
            delong.auc_influence(run[m], who.labels[m], who.patients[m], n_patients)
            for m in members
        )
        found["auc", "a"].append(delong.interval(a, float(np.linalg.norm(of_a)), 0.95))
        found["auc", "b"].append(delong.interval(b, float(np.linalg.norm(of_b)), 0.95))
        found["auc", "a − b"].append(
            delong.difference_interval(a - b, float(np.linalg.norm(of_a - of_b)), 0.95)
        )
    return {key: tuple(np.array(ends).T) for key, ends in found.items()}
