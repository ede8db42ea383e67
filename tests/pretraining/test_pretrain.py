"""Pretraining learns, resumes and is honest about it; the weights that ship see the lesion, and the
planted gap.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fairjax import models
from fairjax.configs.pretrain_phantom import get_config
from fairjax.datasets import phantoms
from fairjax.models.zoo import MODELS
from fairjax.pretraining import pretrain
from fairjax.pretraining.selfsupervision import OBJECTIVES, patches, soft_ellipses
from fairjax.utils.storage import hash_arrays


def tiny(objective: str, steps: int = 24) -> dict:
    config = get_config(objective)
    config.update(steps=steps, batch_size=16, checkpoint_every=5, learning_rate=5e-3)
    config.architecture = {"width": 16, "depth": 1, "heads": 2, "mlp_dim": 32}
    config.phantoms.n_patients = 32
    config.probe.n_patients = 80
    return config.to_dict()


def arrays(module: nnx.Module) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in models.state_dict(module).items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_falls(objective, tmp_path):
    encoder, losses = pretrain.train(tiny(objective), tmp_path, show=False)
    assert losses[-5:].mean() < 0.95 * losses[:5].mean()
    assert all(np.isfinite(array).all() for array in arrays(encoder).values())


class Interrupted:
    """A progress bar after whose first `steps` updates the process is interrupted."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, *args, **kwargs):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def set_description_str(self, *args, **kwargs):
        pass

    def update(self, n):
        self.steps -= 1
        if self.steps < 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_where_an_undisturbed_one_does(tmp_path, monkeypatch):
    config = tiny("foreign_patch", steps=12)
    pairs = pretrain.draw_pairs(
        phantoms.PhantomConfig(images_per_patient=(2, 2), n_patients=32), show=False
    )
    monkeypatch.setattr(pretrain, "draw_pairs", lambda *args, **kwargs: pairs)
    undisturbed, losses = pretrain.train(config, tmp_path / "one", show=False)
    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "bar", Interrupted(8))
        with pytest.raises(KeyboardInterrupt):
            pretrain.train(config, tmp_path / "two", show=False)
    resumed, losses_of_two = pretrain.train(config, tmp_path / "two", show=False)
    np.testing.assert_array_equal(losses, losses_of_two)
    assert hash_arrays(arrays(undisturbed)) == hash_arrays(arrays(resumed))


def test_the_model_directory_says_how_it_was_made(tmp_path):
    config = tiny("foreign_patch", steps=3)
    card = pretrain.pretrain(config, tmp_path / "model")
    assert card["pretraining"]["config"]["objective"] == "foreign_patch"
    assert set(card["pretraining"]["probe"]) == {
        "overall",
        "female",
        "male",
        "under 60",
        "60 and over",
    }
    loaded = models.load(tmp_path / "model")
    assert loaded.config.width == 16
    assert hash_arrays(arrays(loaded)) == card["weights_sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_normalizing_on_the_device_is_the_models_own_preprocessing():
    preprocess = MODELS["phantom_vit"].preprocess
    config = phantoms.PhantomConfig(n_patients=1)
    grey = phantoms.render(config, "p000000-0")
    expected = preprocess(np.repeat(grey[..., None], 3, axis=-1))
    np.testing.assert_allclose(
        pretrain.normalize(jnp.asarray(grey), preprocess), expected, atol=1e-6
    )


def test_patches_are_cut_in_the_order_of_the_encoders_tokens():
    blocks = jnp.arange(6.0).reshape(1, 2, 3, 1).repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(patches(blocks, 4)[0].mean(-1), np.arange(6.0))


def test_ellipses_are_smooth_and_of_the_asked_size():
    region = np.asarray(soft_ellipses(jax.random.key(0), 200, 64, (0.1, 0.2)))
    assert region.min() >= 0
    assert region.max() <= 1
    area = region.mean(axis=(1, 2, 3)) * 4  # in squares of half the side
    assert np.median(area) == pytest.approx(np.pi * 0.1 * 0.2, rel=0.25)


@pytest.fixture(scope="module")
def shipped_auc() -> dict[str, float]:
    config = get_config().to_dict()
    config["probe"] |= {"seed": 77, "n_patients": 2400}
    return pretrain.probe(models.load(models.bundled("phantom_vit")), config)


@pytest.mark.row("model", "phantom_vit")
def test_the_shipped_weights_are_small_and_what_their_card_says():
    directory = models.bundled("phantom_vit")
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) <= 3 * 2**20
    card = models.load_card(directory)
    assert hash_arrays(arrays(models.load(directory))) == card["weights_sha256"]
    assert (
        card["pretraining"]["probe"]["male"] > card["pretraining"]["untrained_probe"]["male"] + 0.1
    )
    assert models.load(directory).config == MODELS["phantom_vit"].architecture


def test_the_shipped_encoder_shows_the_lesion_in_new_patients(shipped_auc):
    assert shipped_auc["male"] > 0.86


def test_the_shipped_encoder_shows_the_planted_gap_and_no_other(shipped_auc):
    assert 0.06 < shipped_auc["male"] - shipped_auc["female"] < 0.20
    assert abs(shipped_auc["under 60"] - shipped_auc["60 and over"]) < 0.06
