import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.probes import RUNS, SHORT, D, features, scores
from helpers.processes import devices, kill_when, run_python
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fairjax.training import engine, sweep
from fairjax.training.engine import RUN_MULTIPLE, plan
from fairjax.training.heads import HEADS
from fairjax.training.objectives.base import weighted_mean
from fairjax.training.objectives.losses import log_loss
from fairjax.training.program import ProbeConfig, sample_weights
from fairjax.training.runs import Run, expand
from fairjax.training.sweep import make_program
from fairjax.utils.errors import UserError
from fairjax.utils.random import permutation, stream


def train_alone(run, config, data, seed=0):
    """The same probe by optax.adamw, one run at a time, in plain Python."""
    data = data.standardized() if config.standardize else data
    x, y = data.x["train"], data.y["train"].astype(np.float32)
    weights = sample_weights(y, config.class_weight)
    n, steps = len(y), -(-len(y) // config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(
        0,
        run.learning_rate,
        config.warmup_epochs * steps,
        config.epochs * steps,
        run.learning_rate * config.final_lr_fraction,
    )
    optimizer = optax.adamw(schedule, weight_decay=run.weight_decay)
    key = jax.random.key(seed)
    draw = jax.random.uniform(
        stream(key, "init", run.seed), (D + 1,), jnp.float32, -(D**-0.5), D**-0.5
    )
    params = {"kernel": draw[None, None, :D], "bias": draw[None, None, D]}
    state = optimizer.init(params)
    best, best_loss, stale = params, np.inf, 0
    seed = () if config.order == "shared" else (run.seed,)

    if (
        config.resample == "patients"
    ):  # patient p's two images count as often as p is drawn from the n / 2 patients
        drawn = jax.random.randint(stream(key, "bootstrap", run.seed), (n,), 0, n // 2)[: n // 2]
        weights = weights * np.bincount(drawn, minlength=n // 2)[data.patients]

    def loss(params, x, y, weights):
        return weighted_mean(log_loss(HEADS["linear"].logits(params, x), y), weights)[0]

    for epoch in range(config.epochs):
        rows = np.asarray(permutation(stream(key, "order", epoch, *seed), n))
        for step in range(steps):
            batch = rows[step * config.batch_size : (step + 1) * config.batch_size]
            gradient = jax.grad(loss)(params, x[batch], y[batch], weights[batch])
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        validation = loss(
            params, data.x["validation"], data.y["validation"], np.ones(len(data.y["validation"]))
        )
        if validation < best_loss:
            best, best_loss, stale = params, validation, 0
        else:
            stale += 1
        if config.patience and stale >= config.patience:
            break
    return np.asarray(jax.nn.sigmoid(HEADS["linear"].logits(best, data.x["test"])))[0]


@pytest.mark.row("method", "erm")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"order": "per_run"},
        {"class_weight": "balanced"},
        {"standardize": False},
        {"epochs": 25, "patience": 2},
        {"batch_size": 150},
        {"resample": "patients"},
    ],
    ids=str,
)
def test_a_swept_run_equals_the_same_probe_trained_alone_by_optax_adamw(tmp_path, change):
    config, data = dataclasses.replace(SHORT, **change), features()
    together = scores(sweep.sweep(data, RUNS, config, tmp_path, progress=False))
    for run in (RUNS[0], RUNS[17], RUNS[39]):
        np.testing.assert_allclose(together[run.name], train_alone(run, config, data), rtol=2e-5)


def test_a_run_does_not_depend_on_its_company(tmp_path):
    data = features()
    together = scores(sweep.sweep(data, RUNS, SHORT, tmp_path / "a", progress=False))
    reordered = [RUNS[17], *RUNS[::-1][:39]]  # as wide a chunk, other places in it
    same_width = scores(sweep.sweep(data, reordered, SHORT, tmp_path / "b", progress=False))
    assert all((same_width[name] == together[name]).all() for name in same_width)
    alone = scores(sweep.sweep(data, [RUNS[17]], SHORT, tmp_path / "c", progress=False))
    np.testing.assert_allclose(alone[RUNS[17].name], together[RUNS[17].name], rtol=1e-6, atol=1e-7)


def test_chunks_change_nothing(tmp_path):
    data = features()
    whole = scores(sweep.sweep(data, RUNS, SHORT, tmp_path / "a", progress=False))
    sizes = {split: len(y) for split, y in data.y.items()}
    small = next(b for b in range(10_000, 10**7, 1_000) if _fits(data, sizes, b))
    swept = sweep.sweep(data, RUNS, SHORT, tmp_path / "b", memory_bytes=small, progress=False)
    assert len(swept.chunks) == 3
    for name, row in scores(swept).items():
        np.testing.assert_allclose(row, whole[name], rtol=1e-6, atol=1e-7)


def _fits(data, sizes, memory_bytes):
    try:
        return plan(RUNS, make_program(SHORT), sizes, D, memory_bytes).width == RUN_MULTIPLE
    except UserError:
        return False


def test_too_little_memory_is_said_in_one_line():
    with pytest.raises(UserError, match=r"more than --config\.memory_gib="):
        plan(RUNS, make_program(SHORT), {"train": 150, "validation": 60, "test": 60}, D, 5_000)


def test_the_planned_memory_covers_what_is_held(tmp_path):
    """The plan counts at least the arrays of the state and the scores of a chunk."""
    data, config = features(), SHORT
    sizes = {split: len(y) for split, y in data.y.items()}
    cut = plan(RUNS, make_program(config), sizes, D, 2**30)
    held = cut.width * ((D + 1) * 4 + 3) * 4 + cut.width * (sizes["validation"] + sizes["test"]) * 4
    assert cut.bytes_per_chunk >= held


def test_finished_chunks_are_not_trained_again_and_damaged_ones_are(tmp_path):
    data = features()
    first = sweep.sweep(data, RUNS, SHORT, tmp_path, progress=False)
    path = next(first.folder.glob("chunk-*.safetensors"))
    before, expected = path.stat().st_mtime_ns, scores(first)
    sweep.sweep(data, RUNS, SHORT, tmp_path, progress=False)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:-40])
    again = scores(sweep.sweep(data, RUNS, SHORT, tmp_path, progress=False))
    assert all((again[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("change", [{"epochs": 7}, {"class_weight": "balanced"}])
def test_other_settings_are_another_sweep(tmp_path, change):
    data = features()
    first = sweep.sweep(data, RUNS[:2], SHORT, tmp_path, progress=False)
    second = sweep.sweep(
        data, RUNS[:2], dataclasses.replace(SHORT, **change), tmp_path, progress=False
    )
    third = sweep.sweep(features(seed=1), RUNS[:2], SHORT, tmp_path, progress=False)
    assert len({first.folder, second.folder, third.folder}) == 3


def test_seeds_differ_and_the_same_seed_repeats(tmp_path):
    data = features()
    a = scores(sweep.sweep(data, RUNS[:3], SHORT, tmp_path / "a", progress=False))
    b = scores(sweep.sweep(data, RUNS[:3], SHORT, tmp_path / "b", progress=False))
    c = scores(sweep.sweep(data, RUNS[:3], SHORT, tmp_path / "c", seed=1, progress=False))
    names = list(a)
    assert all((a[name] == b[name]).all() for name in names)
    assert not np.allclose(a[names[0]], a[names[1]])
    assert not np.allclose(a[names[0]], c[names[0]])


def test_training_reaches_what_logistic_regression_reaches(tmp_path):
    data, run = features(n=600, m=300), Run(0, 0.02, 0.0)
    config = ProbeConfig(epochs=30, warmup_epochs=2, batch_size=64)
    ours = sweep.sweep(data, [run], config, tmp_path, progress=False).test_scores(run.name)
    reference = LogisticRegression(C=np.inf).fit(data.x["train"], data.y["train"])
    theirs = reference.predict_proba(data.x["test"])[:, 1]
    assert roc_auc_score(data.y["test"], ours) > roc_auc_score(data.y["test"], theirs) - 0.01


def test_bad_grids_are_refused():
    for arguments in (
        (0, (1e-3,), (0.0,)),
        (2, (1e-3, 1e-3), (0.0,)),
        (2, (1e-3,), (-1.0,)),
        (2, (), (0.0,)),
    ):
        with pytest.raises(UserError, match="distinct numbers"):
            expand(*arguments)
    with pytest.raises(UserError, match="training.order"):
        ProbeConfig(order="random")


EIGHT_DEVICES = """
import sys
from pathlib import Path
import jax, numpy as np
from helpers.probes import D, RUNS, SHORT, features, scores
from fairjax.training import sweep
from fairjax.training.engine import plan
from fairjax.training.sweep import make_program
assert jax.local_device_count() == 8
out = Path(sys.argv[1])
swept = sweep.sweep(features(), RUNS, SHORT, out, progress=False)
sizes = {"train": 150, "validation": 60, "test": 60}
assert plan(RUNS, make_program(SHORT), sizes, D, 2**30).width % 8 == 0
np.save(out / "scores.npy", np.stack([scores(swept)[run.name] for run in RUNS]))
"""


def test_eight_devices_give_the_scores_of_one(tmp_path):
    run_python(EIGHT_DEVICES, tmp_path, **devices(8))
    one = scores(sweep.sweep(features(), RUNS, SHORT, tmp_path / "one", progress=False))
    np.testing.assert_allclose(
        np.load(tmp_path / "scores.npy"),
        np.stack([one[run.name] for run in RUNS]),
        rtol=1e-6,
        atol=1e-7,
    )


LONG = ProbeConfig(epochs=300, batch_size=16)
KILLED = """
import sys
from pathlib import Path
from helpers.probes import RUNS, features
from fairjax.training import engine, sweep
from fairjax.training.program import ProbeConfig
engine.LARGEST_CHUNK = 16
config = ProbeConfig(epochs=300, batch_size=16)
sweep.sweep(features(), RUNS, config, Path(sys.argv[1]), progress=False)
"""


def test_a_killed_sweep_resumes_to_the_same_bits(tmp_path, monkeypatch):
    def chunks():
        return list((tmp_path / "killed").glob("*/chunk-*.json"))

    kill_when(chunks, KILLED, tmp_path / "killed", seconds=120)
    assert 1 <= len(chunks()) <= 2
    monkeypatch.setattr(engine, "LARGEST_CHUNK", 16)
    resumed, undisturbed = (
        scores(sweep.sweep(features(), RUNS, LONG, tmp_path / name, progress=False))
        for name in ("killed", "whole")
    )
    assert all((resumed[name] == undisturbed[name]).all() for name in undisturbed)
