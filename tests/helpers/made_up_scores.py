"""Scores of runs, labels, attributes and patients, drawn at random, and their table of results."""

from __future__ import annotations

import numpy as np

from fairjax.statistics.evaluation import evaluate_runs

N_BOOT = 60


def make(n_runs=3, n=90, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(labels - 0.5, 1, (n_runs, n)).round(1)))
    patients = rng.integers(0, n // 2, n)
    attributes = {
        "sex": (rng.integers(0, 2, n), ["female", "male"]),
        "age": (rng.integers(-1, 3, n), ["<40", "40-59", "≥60"]),
    }
    return scores.astype(np.float32), labels, attributes, patients


def evaluate(scores, labels, attributes, thresholds=0.5, patients=None, **options):
    return evaluate_runs(
        scores,
        labels,
        attributes,
        thresholds,
        patients,
        **{"n_boot": N_BOOT, "min_group": 2, **options},
    )
