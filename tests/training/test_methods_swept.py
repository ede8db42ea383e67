"""Methods, heads and averages inside the program of many runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fairjax.training import averaging, sweep
from fairjax.training.convex import sweep as convex_sweep
from fairjax.training.engine import FIRST_STAGE, first_stage
from fairjax.training.objectives import parse
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import Run, expand
from fairjax.utils.errors import UserError
from fairjax.utils.random import permutation, stream

D, GROUPS = 8, 3
SHORT = ProbeConfig(epochs=4, warmup_epochs=1, batch_size=32, keep="last")


def made(n=120, m=50, seed=0):
    """Features, and the groups of the training samples, of which some are not known."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=D)

    def part(k):
        x = rng.normal(size=(k, D)).astype(np.float32)
        return x, (rng.random(k) < 1 / (1 + np.exp(-x @ direction))).astype(np.int32)

    parts = {"train": part(n), "validation": part(m), "test": part(m)}
    codes = np.where(rng.random(n) < 0.1, -1, rng.integers(0, GROUPS, n))
    x, y = ({name: part[place] for name, part in parts.items()} for place in (0, 1))
    return sweep.Features(x, y, np.arange(n) // 2, {"data": seed}), sweep.Groups(codes, GROUPS)


def scores(swept):
    return {
        run.name: row for runs, arrays in swept for run, row in zip(runs, arrays["test_scores"])
    }


def swept(folder, runs, config=SHORT, data=None, **options):
    features, groups = data or made()
    return sweep.sweep(features, runs, config, folder, groups=groups, progress=False, **options)


def path_of(method, seeds=2):
    strength = parse(method).strength
    return expand(seeds, (0.02,), (0.01,), strength.path if strength else (None,))


@pytest.mark.parametrize(
    "method",
    [
        "group_dro",
        "eo_constraint",
        "laftr",
        "mmd",
        "arl",
        "jtt",
        "resampling_class",
        "domain_independent",
        "erm+swad+sam",
    ],
)
def test_a_run_of_a_method_is_the_same_alone_and_among_all_strengths(tmp_path, method):
    runs = path_of(method)
    together = scores(swept(tmp_path / "a", runs, method=method))
    alone = scores(swept(tmp_path / "b", [runs[-1]], method=method))[runs[-1].name]
    assert np.isfinite(alone).all()
    assert (alone == together[runs[-1].name]).all()  # both fill a chunk of 16
    if len(runs) > 2:
        assert not np.allclose(together[runs[0].name], together[runs[-1].name], atol=1e-5)


@pytest.mark.parametrize("method", ["fair_sinkhorn", "fis", "cfair", "coral"])
def test_methods_take_each_run_its_own_order_of_samples(tmp_path, method):
    config = dataclasses.replace(SHORT, order="per_run", epochs=2)
    found = scores(swept(tmp_path, path_of(method)[:4], config, method=method))
    assert all(np.isfinite(row).all() for row in found.values())


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_methods_train_heads_of_any_width_of_features(tmp_path, head):
    for method in ("mmd", "laftr"):
        found = scores(swept(tmp_path, path_of(method)[:4], method=method, head=head))
        assert all(np.isfinite(row).all() for row in found.values())


def test_a_hidden_layer_learns_what_a_line_cannot(tmp_path):
    rng = np.random.default_rng(1)
    x = {
        name: rng.uniform(-1, 1, (k, 2)).astype(np.float32)
        for name, k in (("train", 800), ("validation", 200), ("test", 400))
    }
    y = {name: (v[:, 0] * v[:, 1] > 0).astype(np.int32) for name, v in x.items()}
    data = sweep.Features(x, y, np.arange(800), {"data": "xor"}), None
    config = ProbeConfig(epochs=30, warmup_epochs=1, batch_size=64)
    run = Run(0, 0.02, 0.0)
    auc = {
        head: roc_auc_score(
            y["test"], swept(tmp_path, [run], config, data, head=head).test_scores(run.name)
        )
        for head in ("linear", "mlp")
    }
    assert auc["linear"] < 0.65
    assert auc["mlp"] > 0.95


def trained(config, run, features, weights):
    """A linear probe by optax.adamw in plain Python, with weights of the samples; returns kernel
    and bias.
    """
    x, y = features.standardized().x["train"], features.y["train"].astype(np.float32)
    n, steps = len(y), -(-len(y) // config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(
        0,
        run.learning_rate,
        config.warmup_epochs * steps,
        config.epochs * steps,
        run.learning_rate * 0.04,
    )
    optimizer = optax.adamw(schedule, weight_decay=run.weight_decay)
    key = jax.random.key(0)
    draw = jax.random.uniform(
        stream(key, "init", run.seed), (D + 1,), jnp.float32, -(D**-0.5), D**-0.5
    )
    params = {"kernel": draw[:D], "bias": draw[D]}
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y, w):
        def loss(params):
            z = x @ params["kernel"] + params["bias"]
            return jnp.sum(w * (jax.nn.softplus(z) - y * z)) / jnp.sum(w)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for epoch in range(config.epochs):
        rows = np.asarray(permutation(stream(key, "order", epoch), n))
        for at in range(0, n, config.batch_size):
            batch = rows[at : at + config.batch_size]
            params, state = step(params, state, x[batch], y[batch], weights[batch])
    return params


@pytest.mark.row("method", "jtt")
def test_jtt_is_two_trainings_the_second_with_the_errors_of_the_first(tmp_path):
    features, groups = made()
    config, run = dataclasses.replace(SHORT, epochs=8), Run(1, 0.02, 0.01, 4.0)
    ours = swept(tmp_path, [run], config, (features, groups), method="jtt").test_scores(run.name)
    x, y = features.standardized().x, features.y["train"]
    assert first_stage(config).epochs == FIRST_STAGE * 8
    first = trained(first_stage(config), run, features, np.ones(len(y), np.float32))
    wrong = ((x["train"] @ first["kernel"] + first["bias"]) > 0) != (y > 0.5)
    assert 0 < wrong.sum() < len(y)
    second = trained(config, run, features, (1 + 4.0 * wrong).astype(np.float32))
    theirs = jax.nn.sigmoid(x["test"] @ second["kernel"] + second["bias"])
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_reweighting_is_training_with_inverse_frequencies(tmp_path):
    features, groups = made()
    run = Run(0, 0.02, 0.01, 1.0)
    ours = swept(tmp_path, [run], SHORT, (features, groups), method="reweighting").test_scores(
        run.name
    )
    counts = np.bincount(groups.codes[groups.codes >= 0], minlength=GROUPS)
    weights = np.where(groups.codes >= 0, counts.sum() / GROUPS / counts[groups.codes], 1.0).astype(
        np.float32
    )
    params = trained(SHORT, run, features, weights)
    x = features.standardized().x["test"]
    np.testing.assert_allclose(
        ours, jax.nn.sigmoid(x @ params["kernel"] + params["bias"]), rtol=2e-5
    )


def test_a_method_that_must_be_told_of_groups_says_so(tmp_path):
    features, _ = made()
    with pytest.raises(UserError, match="method 'group_dro' needs an attribute"):
        sweep.sweep(
            features, path_of("group_dro"), SHORT, tmp_path, method="group_dro", progress=False
        )


def test_more_seeds_train_only_what_is_missing(tmp_path):
    few = swept(tmp_path, expand(3, (0.02,), (0.0,)))
    before = {path.name: path.stat().st_mtime_ns for path in few.folder.glob("chunk-*")}
    first = scores(few)
    more = swept(tmp_path, expand(5, (0.02,), (0.0,)))
    assert more.folder == few.folder
    assert len(scores(more)) == 5
    assert all((scores(more)[name] == row).all() for name, row in first.items())
    assert {name: (few.folder / name).stat().st_mtime_ns for name in before} == before
    fewer = swept(tmp_path, expand([1], (0.02,), (0.0,)))
    assert list(scores(fewer)) == ["seed=1,lr=0.02,wd=0"]


# ------------------------------------------------------------------------------------------------------------
# averages


def follow(kind, trajectory, losses):
    """Runs the averages of one run along weights (epochs, steps, d) with validation losses
    (epochs,).
    """
    params = {"w": jnp.asarray(trajectory[0, 0])[None]}
    average = averaging.init(kind, params)
    for epoch, steps in enumerate(trajectory):
        for w in steps:
            params = {"w": jnp.asarray(w)[None]}
            average = averaging.add_step(kind, average, params)
        loss = jnp.asarray(losses[epoch : epoch + 1])
        average = averaging.add_epoch(
            kind, average, params, loss, jnp.int32(epoch), len(trajectory)
        )
    return np.asarray(averaging.result(kind, average, params)["w"])[0]


@pytest.fixture
def trajectory():
    return np.random.default_rng(0).normal(size=(20, 3, 4)).astype(np.float32)


def test_swa_averages_the_ends_of_the_last_quarter_of_the_epochs(trajectory):
    ours = follow("swa", trajectory, np.ones(20, np.float32))
    np.testing.assert_allclose(ours, trajectory[15:, -1].mean(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("losses", "first", "last"),
    [
        # falls until epoch 5, overfits from 9 on: six losses above the limit are seen at 14
        ([9, 8, 7, 6, 5, 1, 1.1, 1.1, 1.1, *[5] * 11], 5, 8),
        # falls until epoch 5 and stays
        ([9, 8, 7, 6, 5, 1, *[1.1] * 14], 5, 19),
        # falls to the end: never seen to converge
        (list(range(40, 20, -1)), 16, 19),
    ],
    ids=["overfits", "stays", "falls"],
)
def test_swad_averages_every_step_between_convergence_and_overfitting(
    trajectory, losses, first, last
):
    ours = follow("swad", trajectory, np.asarray(losses, np.float32))
    np.testing.assert_allclose(
        ours, trajectory[first + 1 : last + 1].mean((0, 1)), rtol=1e-4, atol=1e-6
    )


def test_a_sharpness_aware_step_takes_the_gradient_at_the_worst_point_nearby(tmp_path):
    """One step of one full batch of SGD-like Adam: its sign is that of the gradient at the
    perturbed point.
    """
    features, groups = made(n=64)
    config = ProbeConfig(epochs=1, warmup_epochs=0, batch_size=64, keep="last", standardize=False)
    run = Run(0, 0.01, 0.0, 2.0)
    result = next(iter(swept(tmp_path, [run], config, (features, groups), method="erm+sam")))[1]
    x, y = features.x["train"], features.y["train"]
    draw = jax.random.uniform(
        stream(jax.random.key(0), "init", 0), (D + 1,), jnp.float32, -(D**-0.5), D**-0.5
    )

    def loss(params):
        z = x @ params[:D] + params[D]
        return jnp.mean(jax.nn.softplus(z) - y * z)

    gradient = jax.grad(loss)(draw)
    worst = jax.grad(loss)(draw + 2.0 * gradient / jnp.linalg.norm(gradient))
    expected = draw - 0.01 * worst / (jnp.abs(worst) + 1e-8)
    ours = np.append(result["kernel"][0, 0], result["bias"][0, 0])
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    assert (jnp.sign(worst) != jnp.sign(gradient)).any()


# --------------------------------------------------------------------------------------------------------------
# convex


def test_a_convex_probe_is_the_logistic_regression_of_scikit_learn(tmp_path):
    features, groups = made(n=300)
    runs = expand(1, (0.0,), (0.01, 0.1))
    found = convex_sweep.sweep(features, runs, SHORT, tmp_path, groups=groups, progress=False)
    x, y = features.standardized().x, features.y
    for run in runs:
        theirs = LogisticRegression(
            C=1 / (300 * run.weight_decay), solver="newton-cholesky", tol=1e-9
        )
        theirs.fit(x["train"].astype(np.float64), y["train"])
        np.testing.assert_allclose(
            found.test_scores(run.name), theirs.predict_proba(x["test"])[:, 1], rtol=1e-4
        )


def test_convex_probes_take_weights_and_bootstraps_and_no_other_methods(tmp_path):
    features, groups = made(n=300)
    config = dataclasses.replace(SHORT, resample="patients")
    options = {"groups": groups, "progress": False}
    runs = expand(3, (0.0,), (0.01,), (1.0,))
    found = scores(
        convex_sweep.sweep(features, runs, config, tmp_path, method="reweighting", **options)
    )
    assert not np.allclose(found[runs[0].name], found[runs[1].name])
    with pytest.raises(UserError, match="a convex probe has no method 'mmd'"):
        convex_sweep.sweep(features, runs, config, tmp_path, method="mmd", **options)


def test_every_method_has_a_finite_loss_where_a_batch_lacks_a_group(tmp_path):
    features, groups = made(n=40)
    codes = np.zeros(40, int)
    codes[0] = 1  # two of three groups, one of them in one batch alone
    for method in ("group_dro", "mmd", "cfair", "eo_penalty", "fair_sinkhorn"):
        config = ProbeConfig(epochs=1, warmup_epochs=0, batch_size=8, keep="last")
        data = features, sweep.Groups(codes, 3)
        found = scores(swept(tmp_path, path_of(method)[:2], config, data, method=method))
        assert all(np.isfinite(row).all() for row in found.values()), method
