"""Seconds per convex probe, against scikit-learn's LogisticRegression in the same run.

    # n = 8,192 samples, D = 512 features, 6 values of C, 64 seeds
    python benchmarks/convex.py

Both minimise the same loss on bootstraps of the same samples. The features are correlated, as
embeddings are, and standardised. scikit-learn fits one run after another and is timed with its
default solver and tolerance (1e-4) in float32, and with a tolerance of 1e-6 in float64; each on one
thread and on all, and the faster counts. The distance from the optimum is shown for all, by
scikit-learn's `newton-cholesky` in float64.
"""

import time

import jax
import numpy as np
from absl import app, flags
from common import fastest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from fairjax.training.convex import fit as convex
from fairjax.utils.devices import one_cpu_device_per_core

SAMPLES = flags.DEFINE_integer("samples", 8192, "Training samples (n).")
FEATURES = flags.DEFINE_integer("features", 512, "Feature width (D).")
SEEDS = flags.DEFINE_integer("seeds", 64, "Bootstraps per C.")
PEER_RUNS = flags.DEFINE_integer("peer_runs", 1, "Bootstraps per C that scikit-learn fits.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Repetitions of ours; the fastest counts.")
CS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features whose spectrum falls by a factor of 100, labels, and multiplicities (seeds, n)."""
    rng = np.random.default_rng(0)
    n, d = SAMPLES.value, FEATURES.value
    x = (
        rng.normal(size=(n, d))
        * np.geomspace(1, 0.01, d)
        @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    )
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * x @ rng.normal(size=d) / d**0.5))).astype(int)
    draws = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(SEEDS.value)]
    return x, y, np.stack(draws).astype(np.float32)


def peer(x, y, weights, **options) -> tuple[float, np.ndarray]:
    """Seconds per run of scikit-learn, and its coefficients (c, seeds, d)."""
    seconds = []
    for threads in (1, None):  # matrices this small may be faster on one
        with threadpool_limits(threads):
            start = time.perf_counter()
            fits = [
                LogisticRegression(C=c, max_iter=5000, **options).fit(x, y, sample_weight=w)
                for c in CS
                for w in weights
            ]
            seconds.append(time.perf_counter() - start)
    kernels = np.array([fit.coef_[0] for fit in fits]).reshape(len(CS), len(weights), -1)
    return min(seconds) / len(fits), kernels


def main(argv):
    del argv
    one_cpu_device_per_core()  # as the command line does
    x, y, weights = data()
    runs = len(CS) * SEEDS.value
    c_r, weights_rn = np.repeat(CS, SEEDS.value), np.tile(weights, (len(CS), 1))
    methods = {
        "fairjax, at once": lambda: convex.fit(x, y, weights_rn, c_r),
        "fairjax, path": lambda: convex.path(x, y, weights, CS),
    }
    fits = {name: method() for name, method in methods.items()}  # compiled before they are timed
    timed = {name: (fastest(methods[name], REPEATS.value), fits[name]) for name in methods}
    ours = min(seconds for seconds, _ in timed.values()) / runs
    few = weights[: PEER_RUNS.value]
    _, optimum = peer(x.astype(np.float64), y, few, solver="newton-cholesky", tol=1e-8)

    def error(kernels):
        distance = np.linalg.norm(kernels - optimum, axis=-1) / np.linalg.norm(optimum, axis=-1)
        return f"coefficients within {distance.max():.0e} of the optimum"

    sizes = f"n = {SAMPLES.value}, D = {FEATURES.value}"
    sizes += f", {len(CS)} values of C × {SEEDS.value} bootstraps"
    print(f"{jax.devices()[0].device_kind}: {sizes}")
    for name, (seconds, fitted) in timed.items():
        kernels = fitted.kernel.reshape(len(CS), SEEDS.value, -1)[:, : len(few)]
        converged = (
            f"{fitted.converged.mean():.0%} converged, {fitted.iterations.mean():.1f} iterations"
        )
        print(f"{name:20s} {1e3 * seconds / runs:9.2f} ms/run   {error(kernels)}, {converged}")
    for name, precision, tolerance in (
        ("sklearn", np.float32, 1e-4),
        ("sklearn, tol 1e-6", np.float64, 1e-6),
    ):
        theirs, kernels = peer(x.astype(precision), y, few, tol=tolerance)
        ratio = f"fairjax is {theirs / ours:.0f}× as fast"
        print(f"{name:20s} {1e3 * theirs:9.2f} ms/run   {error(kernels)}; {ratio}")


if __name__ == "__main__":
    app.run(main)
