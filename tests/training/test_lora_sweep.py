"""Adapters of many runs on one tower: each trains as it would alone, with any method, in any number
of parts.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.adapters import (
    RUNS,
    SETTINGS,
    SHORT,
    SIDE,
    SIZES,
    Blind,
    D,
    make_world,
    pixels,
    scores,
)
from helpers.processes import devices, run_python
from sklearn.metrics import roc_auc_score

from fairjax import models
from fairjax.models import lora
from fairjax.models.checkpoint import state_dict
from fairjax.training import sweep
from fairjax.training.heads import HEADS
from fairjax.training.lora import tower
from fairjax.training.lora.images import Images, padded
from fairjax.training.lora.sweep import TowerTrainer
from fairjax.training.lora.tower import LoRA, Tower
from fairjax.training.objectives.base import weighted_mean
from fairjax.training.objectives.losses import log_loss
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError
from fairjax.utils.random import permutation, stream
from fairjax.utils.storage import hash_arrays


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def together(world, tmp_path_factory):
    return world.sweep(tmp_path_factory.mktemp("together"))


def _labels(world):
    return {side: y.astype(np.float32) for side, y in world.features.y.items()}


def train_alone(world, run, config=SHORT):
    """The same run by optax.adamw in plain Python, on a tower whose weights are merged anew for
    every batch.
    """
    mean, scale = world.features.scaling()
    adapted = Tower(world.encoder.module, SETTINGS, (mean, scale)).module
    key = jax.random.key(0)
    of_run = stream(key, "init", run.seed)
    own = HEADS["linear"].init(of_run, 1, D)
    params = {"head": own, "lora": lora.initial(jax.random.fold_in(of_run, 2), adapted)}

    @jax.jit
    def logits(params, images):
        x = (lora.split(adapted)[0](params["lora"]).probe_features(images) - mean) * scale
        return x @ params["head"]["kernel"][0] + params["head"]["bias"]

    def loss(params, images, y):
        return weighted_mean(log_loss(logits(params, images)[None], y), np.ones(len(y)))[0]

    images, y = (
        {side: of(side) for side in SIZES} for of in (world.images, _labels(world).__getitem__)
    )
    n, steps = SIZES["train"], -(-SIZES["train"] // config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(
        0,
        run.learning_rate,
        config.warmup_epochs * steps,
        config.epochs * steps,
        0.04 * run.learning_rate,
    )
    optimizer = optax.adamw(schedule, weight_decay=run.weight_decay)
    state, best, best_loss = optimizer.init(params), params, np.inf
    for epoch in range(config.epochs):
        rows = np.asarray(permutation(stream(key, "order", epoch), n))
        for start in range(0, n, config.batch_size):
            batch = rows[start : start + config.batch_size]
            gradient = jax.grad(loss)(params, images["train"][batch], y["train"][batch])
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        if (validation := loss(params, images["validation"], y["validation"])) < best_loss:
            best, best_loss = params, validation
    return np.asarray(jax.nn.sigmoid(logits(best, images["test"])))


def test_a_run_among_others_equals_the_same_run_trained_alone_by_optax_adamw(world, together):
    swept = scores(together)
    for run in (RUNS[0], RUNS[4]):
        np.testing.assert_allclose(swept[run.name], train_alone(world, run), rtol=1e-4)


def test_runs_do_not_depend_on_their_company_nor_on_the_parts_of_a_batch(world, together, tmp_path):
    alone = scores(world.sweep(tmp_path / "alone", [RUNS[4]]))
    np.testing.assert_allclose(alone[RUNS[4].name], scores(together)[RUNS[4].name], rtol=1e-5)
    built = Tower(world.encoder.module, SETTINGS, world.features.scaling())
    cut = functools.partial(
        tower.lay_out, RUNS, built, sweep.make_program(SHORT), SIZES, (SIDE, SIDE, 3)
    )
    whole, _ = cut(2**30)
    runs = whole.width if jax.local_device_count() == 1 else whole.width // jax.local_device_count()
    memory = whole.bytes_per_chunk - runs * 12 * tower.WORKSPACE * built.held_bytes((SIDE, SIDE, 3))
    assert cut(memory + 1000)[1].parts == 4  # of 4 images each, in place of one of 16
    parts = scores(world.sweep(tmp_path / "parts", memory_bytes=memory + 1000))
    for name, row in scores(together).items():
        np.testing.assert_allclose(parts[name], row, rtol=1e-5)


def test_what_is_stored_gives_the_scores_when_merged_into_the_weights(world, together):
    runs, arrays = next(iter(together))
    mean, scale = world.features.scaling()
    adapted = Tower(world.encoder.module, SETTINGS, (mean, scale)).module
    own = {name: arrays[name][2] for name in lora.adapters(adapted)}
    merged = lora.merge(lora.split(adapted)[0](own))
    x = (np.asarray(merged.probe_features(jnp.asarray(world.images("test")))) - mean) * scale
    logits = x @ arrays["kernel"][2, 0] + arrays["bias"][2, 0]
    np.testing.assert_allclose(scores(together)[runs[2].name], 1 / (1 + np.exp(-logits)), rtol=1e-4)
    assert hash_arrays(state_dict(world.encoder.module)) == hash_arrays(state_dict(Blind()))


def test_adapters_learn_what_the_frozen_features_do_not_carry(world, tmp_path):
    config, runs = dataclasses.replace(SHORT, epochs=25), [Run(0, 0.03, 0.0)]
    y = world.features.y["test"]
    probe = sweep.sweep(world.features, runs, config, tmp_path, progress=False)
    assert roc_auc_score(y, probe.test_scores(runs[0].name)) < 0.65
    adapted = world.sweep(tmp_path, runs, config)
    assert roc_auc_score(y, adapted.test_scores(runs[0].name)) > 0.9


def test_images_that_fit_into_memory_are_read_once_and_others_once_an_epoch(world):
    read = []

    def counted(name):
        read.append(name)
        return pixels(name)

    dataset = dataclasses.replace(world.dataset, read=counted)
    rows = [padded(np.random.default_rng(epoch).permutation(30), 8) for epoch in range(2)]
    found = {}
    for memory, reads in ((10**6, 30), (1_000, 60)):
        read.clear()
        images = Images(dataset, world.encoder, 8, memory_bytes=memory)
        found[memory] = [np.concatenate(list(images(of))) for of in rows]
        assert len(read) == reads
    for held, streamed, of in zip(found[10**6], found[1_000], rows):
        np.testing.assert_array_equal(held, streamed)
        np.testing.assert_array_equal(held[:30], np.stack([pixels(str(row)) for row in of[:30]]))
        assert not held[30:].any()


def test_computing_blocks_again_keeps_less_for_the_gradient():
    module = models.build("phantom_vit", width=8, depth=3, heads=2, mlp_dim=16, image_size=16)
    targets = lora.targets_of("phantom_vit")
    scaling = np.zeros(8, np.float32), np.ones(8, np.float32)
    kept, less = (
        Tower(module, LoRA(targets=targets, remat=remat), scaling).held_bytes((16, 16, 3))
        for remat in (False, True)
    )
    assert less < kept / 3
    assert not module.encoder.remat


@pytest.mark.parametrize("method", ["arl+swa+sam", "jtt", "domain_independent"])
def test_methods_train_adapters_too(world, together, tmp_path, method):
    runs = [dataclasses.replace(RUNS[0], strength=2.0), dataclasses.replace(RUNS[2], strength=2.0)]
    ((_, arrays),) = world.sweep(tmp_path, runs, method=method)
    assert all(np.isfinite(arrays[name]).all() for name in ("test_scores", "validation_loss"))
    assert not np.allclose(arrays["test_scores"][0], scores(together)[RUNS[0].name], rtol=1e-4)


def test_a_killed_sweep_resumes_to_the_same_bits(world, tmp_path, monkeypatch):
    monkeypatch.setattr(tower, "LARGEST_GROUP", 2 // jax.local_device_count() or 1)
    trained, train = [], TowerTrainer.train

    def counted(self, runs, *args):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(runs)
        return train(self, runs, *args)

    monkeypatch.setattr(TowerTrainer, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        world.sweep(tmp_path / "killed")
    trained.append([])
    resumed = world.sweep(tmp_path / "killed")
    assert sum(map(len, trained)) == len(RUNS)
    undisturbed = scores(world.sweep(tmp_path / "whole"))
    assert all((row == undisturbed[name]).all() for name, row in scores(resumed).items())


TWO_DEVICES = """
import sys
from pathlib import Path
import jax, numpy as np
from helpers.adapters import RUNS, make_world, scores
from fairjax.training.runs import Run
assert jax.local_device_count() == 2
world, out = make_world(), Path(sys.argv[1])
many = [*RUNS, Run(9, 0.02, 0.0)]
swept = scores(world.sweep(out / "a", many))
one = world.sweep(out / "b", many[4:5]).test_scores(many[4].name)
np.savez(out / "scores.npz", **swept, one=one)
"""


@pytest.mark.slow
def test_two_devices_give_the_scores_of_one_whether_they_share_runs_or_images(together, tmp_path):
    run_python(TWO_DEVICES, tmp_path, **devices(2))
    found, expected = np.load(tmp_path / "scores.npz"), scores(together)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    np.testing.assert_allclose(found["one"], expected[RUNS[4].name], rtol=1e-5)


def test_what_cannot_be_trained_is_said_in_one_line(world, tmp_path):
    with pytest.raises(UserError, match="order='shared'"):
        world.sweep(tmp_path, config=dataclasses.replace(SHORT, order="per_run"))
    with pytest.raises(UserError, match="begins at random"):
        world.sweep(tmp_path, head="prototypes")
    with pytest.raises(UserError, match=r"--config\.memory_gib"):
        world.sweep(tmp_path, memory_bytes=1_000)
    table = world.dataset.table.assign(image=[f"{name}?" for name in world.dataset.table["image"]])
    broken = dataclasses.replace(world, dataset=dataclasses.replace(world.dataset, table=table))
    with pytest.raises(UserError, match="of made_up cannot be read any more"):
        broken.sweep(tmp_path)
