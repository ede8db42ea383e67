"""A small sweep of probes on made-up features."""

from __future__ import annotations

import numpy as np

from fairjax.training.program import ProbeConfig
from fairjax.training.runs import expand
from fairjax.training.sweep import Features

D = 12
SHORT = ProbeConfig(epochs=6, warmup_epochs=2, batch_size=32)


def features(n=150, m=60, seed=0):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=D)

    def part(k):
        x = rng.normal(size=(k, D)).astype(np.float32)
        return x, (rng.random(k) < 1 / (1 + np.exp(-x @ direction))).astype(np.int32)

    parts = {"train": part(n), "validation": part(m), "test": part(m)}
    return Features(
        {k: v[0] for k, v in parts.items()},
        {k: v[1] for k, v in parts.items()},
        np.arange(n) // 2,
        {"data": seed},
    )


def scores(swept):
    return {
        run.name: row for runs, arrays in swept for run, row in zip(runs, arrays["test_scores"])
    }


RUNS = expand(10, (1e-2, 3e-2), (0.0, 0.05))
