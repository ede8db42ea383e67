"""Seconds per bootstrap replicate: fairjax, fairmedfm, fairlearn and scikit-learn in one run.

    python benchmarks/bootstrap.py

10,000 cases, two attributes of 2 and 3 groups: a replicate draws the cases again and computes
metrics overall and in all 5 groups. The peers loop in Python over the same kind of draws. Prints a
table, and the seconds of each part of fairjax's replicate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import app, flags
from common import fastest
from sklearn.metrics import roc_auc_score

from fairjax.metrics import sums, table
from fairjax.metrics.entries import take
from fairjax.metrics.evaluate import evaluate, prepare
from fairjax.metrics.subgroups import Subgroups
from fairjax.metrics.table import CLASSIFICATION
from fairjax.statistics.bootstrap import Resampling, replicate_weights
from fairjax.statistics.evaluation import evaluate_runs
from fairjax.statistics.replicates import plan_chunks
from fairjax.utils.cli import cache_dir, set_up_jax

CASES = flags.DEFINE_integer("cases", 10_000, "Cases.")
REPLICATES = flags.DEFINE_integer("replicates", 4000, "Replicates of fairjax.")
LOOPS = flags.DEFINE_integer("loops", 12, "Replicates of each peer.")
OF_FAIRMEDFM = ("auc", "acc", "bce", "ece", "tpr", "tnr")


def main(argv: list[str]) -> None:
    set_up_jax(cache_dir())
    warnings.simplefilter("ignore")
    labels, scores, groups = make(CASES.value)
    ours = {
        f"fairjax, all {len(CLASSIFICATION)} metrics": CLASSIFICATION,
        "fairjax, the 6 metrics of fairmedfm": OF_FAIRMEDFM,
        "fairjax, AUC": ("auc",),
    }
    seconds = {name: of_fairjax(labels, scores, groups, metrics) for name, metrics in ours.items()}
    everything, six, alone = seconds.values()
    peers = {
        "fairmedfm.evaluate": per_loop(partial(of_fairmedfm, labels, scores, groups)),
        "fairlearn MetricFrame(n_boot), AUC": of_fairlearn(labels, scores, groups),
        "scikit-learn, AUC overall and in groups": per_loop(
            partial(of_sklearn, labels, scores, groups)
        ),
    }
    compared = [
        ("fairmedfm.evaluate", everything, "all metrics"),
        ("fairmedfm.evaluate", six, "its 6 metrics"),
    ]
    compared += [(name, alone, "AUC") for name in peers if name != "fairmedfm.evaluate"]
    sizes = f"{CASES.value:,} cases, 5 groups, {len(jax.devices())} devices"
    print(f"{sizes}; per replicate, the best of 3")
    for name, value in seconds.items():
        print(f"{name:42s} {value * 1e6:10.0f} µs")
    for name, ours_, what in compared:
        theirs = peers[name]
        print(f"{name:42s} {theirs * 1e6:10.0f} µs {theirs / ours_:8.0f} × fairjax, {what}")
    print("\nparts of a replicate of all metrics, on one device")
    for name, value, fraction in fractions(labels, scores, groups):
        print(f"{name:42s} {value * 1e6:10.0f} µs {100 * fraction:7.0f} %")


def make(n: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Labels, float32 probabilities, and two attributes."""
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1)))
    return (
        labels,
        scores.astype(np.float32),
        pd.DataFrame({"sex": rng.integers(0, 2, n), "age": rng.integers(0, 3, n)}),
    )


def of_fairjax(labels, scores, groups, metrics) -> float:
    attributes = {
        name: (groups[name].to_numpy(), [str(g) for g in sorted(groups[name].unique())])
        for name in groups
    }
    run = partial(
        evaluate_runs, scores, labels, attributes, 0.5, metrics=metrics, n_boot=REPLICATES.value
    )
    return fastest(run, warm_up=True) / REPLICATES.value


def per_loop(replicate: Callable[[np.ndarray], object]) -> float:
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, CASES.value, CASES.value) for _ in range(LOOPS.value)]
    return fastest(lambda: [replicate(rows) for rows in draws], warm_up=True) / LOOPS.value


def of_fairmedfm(labels, scores, groups, rows) -> None:
    import fairmedfm

    fairmedfm.evaluate(
        labels[rows], scores[rows], groups.iloc[rows].astype(str).reset_index(drop=True)
    )


def of_fairlearn(labels, scores, groups) -> float:
    from fairlearn.metrics import MetricFrame

    def run() -> None:
        for name in groups:  # an attribute each: both in one frame would be crossed
            MetricFrame(
                metrics=roc_auc_score,
                y_true=labels,
                y_pred=scores,
                sensitive_features=groups[name],
                n_boot=LOOPS.value,
                ci_quantiles=[0.025, 0.975],
                random_state=0,
            )

    return fastest(run, warm_up=True) / LOOPS.value


def of_sklearn(labels, scores, groups, rows) -> None:
    y, s = labels[rows], scores[rows]
    roc_auc_score(y, s)
    for name in groups:
        codes = groups[name].to_numpy()[rows]
        for code in range(codes.max() + 1):
            roc_auc_score(y[codes == code], s[codes == code])


def fractions(labels, scores, groups) -> list[tuple[str, float, float]]:
    """Returns seconds and fraction of each part of a replicate.

    Programs do ever more of a replicate; a part is the difference of two of them.
    """
    member = np.stack(
        [
            np.ones(len(labels), bool),
            *(groups[a] == g for a in groups for g in sorted(groups[a].unique())),
        ]
    )
    subgroups, resampling = Subgroups.build(labels, member), Resampling.build(len(labels))
    width = plan_chunks(subgroups.n_entries, 1, REPLICATES.value).replicates
    layout = jax.jit(prepare, static_argnums=3)(subgroups, scores, 0.5, CLASSIFICATION)
    numbers = jnp.arange(8 * width).reshape(8, width)

    def bits(drawn: jax.Array) -> jax.Array:
        return jax.vmap(lambda b: jax.random.bits(jax.random.key(b), (len(labels) // 2,)))(
            drawn
        ).sum()

    def draw(drawn):
        return replicate_weights(resampling, 0, drawn)

    def gather(drawn):
        weights = draw(drawn)
        return take(weights, layout.rows[0]), take(weights, layout.rows[1])

    def product(drawn):
        return sums.weighted_sums(subgroups, layout, table.summed(CLASSIFICATION), gather(drawn))

    def metrics(names):
        of = jax.jit(prepare, static_argnums=3)(subgroups, scores, 0.5, names)
        return lambda drawn: evaluate(subgroups, of, draw(drawn))

    without = tuple(name for name in CLASSIFICATION if not name.startswith("calibration_"))
    programs = {
        "random bits": bits,
        "counting the draws": draw,
        "gather into the subgroups' order": gather,
        "product weights × statistics": product,
        "order statistics (AUC, AUPRC)": metrics(without),
        "recalibration (Newton steps)": metrics(CLASSIFICATION),
    }
    with jax.default_device(jax.devices()[0]):
        total = [
            fastest(timed(program, numbers), warm_up=True) / numbers.size
            for program in programs.values()
        ]
    parts = np.diff(total, prepend=0).clip(min=0)
    return [(name, part, part / parts.sum()) for name, part in zip(programs, parts, strict=True)]


def timed(program: Callable, numbers: jax.Array) -> Callable[[], object]:
    run = jax.jit(lambda numbers: jax.lax.map(program, numbers))
    return lambda: jax.block_until_ready(run(numbers))


if __name__ == "__main__":
    app.run(main)
