"""Convex probes against scikit-learn's LogisticRegression."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from fairjax.training.convex import fit as convex
from fairjax.utils.errors import UserError

CS = np.array([0.001, 0.1, 1.0, 100.0], np.float32)


@pytest.fixture(scope="module")
def cohort():
    """Correlated features with a mean, labels that a plane does not separate, a bootstrap's
    multiplicities per run.
    """
    rng = np.random.default_rng(0)
    n, d = 300, 10
    x = rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) * np.linspace(1, 0.1, d)[:, None])
    x = ((x - x.mean(0)) / x.std(0) + 0.5).astype(np.float32)
    y = (rng.random(n) < expit(x @ rng.normal(size=d) - 1)).astype(int)
    weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in CS]).astype(
        np.float32
    )
    return x, y, weights


def theirs(x, y, weights, c):
    return LogisticRegression(C=c, tol=1e-9, max_iter=5000).fit(
        x.astype(np.float64), y, sample_weight=weights
    )


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_heads_are_those_of_scikit_learn(cohort, solver, weighted):
    x, y, weights = cohort
    fitted = convex.fit(x, y, weights if weighted else None, CS, solver=solver)
    assert fitted.converged.all()
    for run, c in enumerate(CS):
        peer = theirs(x, y, weights[run] if weighted else None, c)
        np.testing.assert_allclose(fitted.kernel[run], peer.coef_[0], atol=1e-4)
        np.testing.assert_allclose(fitted.bias[run], peer.intercept_[0], atol=1e-4)
        np.testing.assert_allclose(
            expit(x @ fitted.kernel[run] + fitted.bias[run]), peer.predict_proba(x)[:, 1], atol=1e-4
        )


def test_labels_may_differ_between_runs(cohort):
    x, y, _ = cohort
    labels = np.stack([y, 1 - y, np.roll(y, 1), y])
    fitted = convex.fit(x, labels, None, CS)
    for run, c in enumerate(CS):
        np.testing.assert_allclose(
            fitted.kernel[run], theirs(x, labels[run], None, c).coef_[0], atol=1e-4
        )


def test_more_features_than_samples_and_no_rotation(cohort, monkeypatch):
    monkeypatch.setattr(convex, "ROTATED_FEATURES", 0)
    x = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    fitted = convex.fit(x, cohort[1], None, CS, solver="lbfgs")
    assert fitted.converged.all()
    for run, c in enumerate(CS[:3]):
        np.testing.assert_allclose(
            fitted.kernel[run], theirs(x, cohort[1], None, c).coef_[0], atol=1e-4
        )


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_a_run_does_not_depend_on_its_neighbours(cohort, solver):
    x, y, weights = cohort
    together = convex.fit(x, y, weights, CS, solver=solver)
    reverse = convex.fit(x, y, weights[::-1], CS[::-1], solver=solver)
    for a, b in zip(together[:3], reverse):
        np.testing.assert_allclose(a, b[::-1], atol=1e-6)
    small = convex.fit(x, y, weights, CS, solver=solver, memory_bytes=80_000)
    np.testing.assert_allclose(small.kernel, together.kernel, atol=2e-5)


def test_more_devices_give_the_same_heads(cohort, tmp_path):
    """Four runs on three devices: their share is padded."""
    x, y, weights = cohort
    np.savez(tmp_path / "data.npz", x=x, y=y, weights=weights, cs=CS)
    program = (
        "import sys, jax, numpy as np; from fairjax.training.convex import fit as convex; data = np.load(sys.argv[1]);"
        "assert jax.local_device_count() == 3;"
        "fits = [convex.fit(data['x'], data['y'], data['weights'], data['cs'], solver=s) for s in ('newton', 'lbfgs')];"
        "np.save(sys.argv[2], np.stack([fitted.kernel for fitted in fits]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "data.npz", tmp_path / "kernels.npy"],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "3"},
        check=True,
        timeout=120,
    )
    for kernel, solver in zip(np.load(tmp_path / "kernels.npy"), ("newton", "lbfgs")):
        np.testing.assert_allclose(
            kernel, convex.fit(x, y, weights, CS, solver=solver).kernel, atol=2e-5
        )


def test_memory_bounds_the_width_of_chunks():
    d = 11
    few, _ = convex._width(300, d, 1000, False, 200_000)
    more, _ = convex._width(300, d, 1000, False, 400_000)
    assert 1 <= few < more < 1000
    for newton in (False, True):
        with pytest.raises(UserError, match="memory_bytes"):
            convex._width(300, d, 1000, newton, 10_000)


def test_a_path_is_its_single_fits_in_fewer_iterations(cohort):
    x, y, weights = cohort
    cs = [1.0, 0.03, 0.1, 0.3]
    along = convex.path(x, y, weights, cs)
    assert along.kernel.shape == (4, len(weights), x.shape[1])
    fresh = [convex.fit(x, y, weights, np.full(len(weights), c)) for c in cs]
    np.testing.assert_allclose(along.kernel, np.stack([fit.kernel for fit in fresh]), atol=1e-4)
    assert along.iterations.sum() < sum(fit.iterations.sum() for fit in fresh)


def test_starting_at_the_optimum_takes_next_to_no_step(cohort):
    x, y, weights = cohort
    first = convex.fit(x, y, weights, CS, tolerance=1e-6)
    assert convex.fit(x, y, weights, CS, start=first).iterations.max() <= 1


@pytest.mark.parametrize("solver", ["lbfgs", "auto"])
def test_a_run_without_an_optimum_is_said_and_harms_no_other(cohort, solver):
    x, y, weights = cohort
    weights = weights.copy()
    weights[1] *= y  # one class alone
    fitted = convex.fit(x, y, weights, CS, solver=solver)
    np.testing.assert_array_equal(fitted.converged, [True, False, True, True])
    np.testing.assert_allclose(
        fitted.kernel[2], theirs(x, y, weights[2], CS[2]).coef_[0], atol=1e-4
    )


def test_separated_classes_have_an_optimum_only_with_a_penalty(cohort):
    x = cohort[0]
    fitted = convex.fit(
        x, (x[:, 0] > 0.5).astype(int), None, np.array([1, np.inf, 1, 1]), solver="lbfgs"
    )
    np.testing.assert_array_equal(fitted.converged, [True, False, True, True])


def test_a_run_that_was_stopped_early_is_said(cohort):
    x, y, weights = cohort
    assert not convex.fit(x, y, weights, CS, solver="lbfgs", max_iterations=1).converged.any()


def test_newton_finishes_what_lbfgs_leaves(cohort, monkeypatch):
    x, y, weights = cohort
    stopped = {"max_iterations": 7}  # enough for Newton, too few for L-BFGS
    assert not convex.fit(x, y, weights, CS, solver="lbfgs", **stopped).converged.all()
    finished = convex.fit(x, y, weights, CS, **stopped)
    assert finished.converged.all()
    np.testing.assert_allclose(
        finished.kernel[3], theirs(x, y, weights[3], CS[3]).coef_[0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": "sgd"}, "solver must be one of"),
        ({"weights": -1}, "weights ≥ 0"),
        ({"y": 2}, "labels 0 and 1"),
        ({"c_r": 0}, "C > 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(cohort, change, message):
    x, y, weights = cohort
    arguments = {"y": y, "weights": weights, "c_r": CS, "solver": "auto"}
    changed = {
        k: v if isinstance(v, str) else np.full_like(arguments[k], v) for k, v in change.items()
    }
    with pytest.raises(UserError, match=message):
        convex.fit(x, **arguments | changed)


def test_shapes_that_do_not_fit_are_said(cohort):
    x, y, weights = cohort
    with pytest.raises(UserError, match="weights must be"):
        convex.fit(x, y, weights[:2], CS)
