import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fairjax import models
from fairjax.models.architectures import override
from fairjax.models.zoo import MODELS
from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_arrays

SMALL = {"width": 16, "depth": 1, "heads": 2, "mlp_dim": 16}


@pytest.fixture(scope="module")
def module():
    return models.build("phantom_vit", **SMALL)


@pytest.fixture(scope="module")
def saved(module, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    models.save(path, module, models.make_card("phantom_vit", module.config))
    return path


@pytest.fixture
def directory(saved, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_what_is_saved_is_loaded(module, saved):
    loaded = models.load(saved)
    images = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    np.testing.assert_array_equal(loaded.encode_image(images), module.encode_image(images))
    assert loaded.config == module.config
    assert all(isinstance(x, jax.Array) for x in models.state_dict(loaded).values())


def test_the_card_says_what_the_weights_are(module, saved):
    card = models.load_card(saved)
    arrays = {name: np.asarray(x) for name, x in models.state_dict(module).items()}
    assert card["weights_sha256"] == hash_arrays(arrays)
    assert (card["model"], card["family"], card["probe_width"]) == ("phantom_vit", "vit", 16)
    assert models.load_preprocess(card) == MODELS["phantom_vit"].preprocess
    assert set(card["versions"]) == {"fairjax", "jax", "flax"}


def test_bfloat16_is_for_computing_not_for_keeping(saved):
    loaded = models.load(saved, dtype=jnp.bfloat16)
    assert {x.dtype for x in models.state_dict(loaded).values()} == {jnp.dtype(jnp.float32)}
    assert (
        models.intermediates(loaded.encode_image, jnp.zeros((1, 64, 64, 3)))["encoder"].dtype
        == jnp.bfloat16
    )


def test_weights_go_straight_to_a_sharding(saved):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    loaded = models.load(saved, sharding=sharding)
    assert {x.sharding for x in models.state_dict(loaded).values()} == {sharding}


def test_a_loaded_module_trains(saved):
    loaded = models.load(saved)
    gradients = nnx.grad(lambda m: m.encode_image(jnp.ones((1, 64, 64, 3))).sum())(loaded)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("how", ["truncated", "lost", "flipped", "no list", "no card"])
def test_a_damaged_directory_is_refused_in_one_line(directory, how, capfd):
    largest = max(
        (directory / "weights").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    if how == "truncated":
        os.truncate(largest, largest.stat().st_size // 2)
    elif how == "lost":
        largest.unlink()
    elif how == "flipped":
        data = bytearray(largest.read_bytes())
        data[len(data) // 2] ^= 1
        largest.write_bytes(data)
    else:
        (directory / {"no list": "files.json", "no card": "card.json"}[how]).unlink()
    with pytest.raises(UserError, match=str(directory)):
        models.load(directory)
    assert "Traceback" not in capfd.readouterr().err


def test_a_missing_or_foreign_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="python -m converters"):
        models.load(tmp_path / "nowhere")
    (tmp_path / "card.json").write_text('{"title": "some other card"}')
    with pytest.raises(UserError, match="convert the checkpoint again"):
        models.load(tmp_path)


def test_a_card_that_does_not_fit_its_weights_is_refused(directory):
    card = json.loads((directory / "card.json").read_text())
    card["architecture"]["mlp_dim"] = 17
    (directory / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="damaged"):
        models.load(directory)


def test_a_model_directory_is_replaced_whole(directory, module):
    wider = models.build("phantom_vit", **SMALL | {"mlp_dim": 32})
    models.save(directory, wider, models.make_card("phantom_vit", wider.config))
    assert models.load(directory).config.mlp_dim == 32
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_a_save_that_is_killed_leaves_no_half_directory(tmp_path):
    code = f"""
import os, signal
from fairjax import models
import fairjax.models.checkpoint as checkpoint
module = models.build("phantom_vit", **{SMALL})
checkpoint.write_json = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
models.save({str(tmp_path / "out")!r}, module, models.make_card("phantom_vit", module.config))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out").exists()


def test_a_save_that_fails_leaves_nothing(tmp_path, module, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("fairjax.models.checkpoint.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        models.save(tmp_path / "out", module, models.make_card("phantom_vit", module.config))
    assert list(tmp_path.iterdir()) == []


def test_loading_initialises_nothing(saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("drew random weights")

    monkeypatch.setattr(jax.random, "bits", refuse)
    started = time.perf_counter()
    models.load(saved)
    assert time.perf_counter() - started < 10


def test_bundled_weights_are_found_or_named(monkeypatch):
    with pytest.raises(UserError, match="no weights of 'clip'"):
        models.bundled("clip")


def test_intermediates_name_every_step(module):
    images = jnp.ones((1, 64, 64, 3))
    steps = models.intermediates(module.encode_image, images)
    np.testing.assert_array_equal(steps["encode_image"], module.encode_image(images))
    n_tokens = module.n_prefix + module.config.grid**2
    assert steps["encoder.blocks.0"].shape == (1, n_tokens, 16)
    assert steps["positions"].shape == (n_tokens, 16)


def test_overriding_names_every_fault():
    architecture = MODELS["clip"].architecture
    with pytest.raises(UserError) as caught:
        override(architecture, {"embed_dm": 3, "vision": {"width": 1.5, "dept": 2}})
    for word in ("embed_dm", "'embed_dim'", "architecture"):
        assert word in str(caught.value)
    assert override(architecture, {"vision.depth": 3, "text": {"depth": 4}}).vision.depth == 3
