import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from helpers.processes import kill_when
from helpers.projection import OPTIONS, Projection, make_encoder, to_float
from PIL import Image

from fairjax import datasets
from fairjax.embeddings import Encoder, embed, open_cache
from fairjax.utils.errors import UserError


@pytest.fixture
def encoder():
    return make_encoder()


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(37):
        Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    rows = pd.DataFrame({"image": [f"{i}.png" for i in range(37)], "label": [0, 1] * 18 + [0]})
    rows.to_csv(tmp_path / "t.csv", index=False)
    return datasets.load("table", tmp_path, table="t.csv")


def expected(data):
    pixels = np.stack([to_float(data.read(image)) for image in data.table["image"]])
    return np.asarray(Projection().probe_features(pixels))


@pytest.mark.parametrize("threads", [1, 4])
def test_features_are_in_the_order_of_the_table(data, encoder, tmp_path, threads):
    embedded = embed(data, encoder, tmp_path / "cache", threads=threads, **OPTIONS)
    np.testing.assert_allclose(embedded.features, expected(data), rtol=1e-5, atol=1e-6)
    assert embedded.valid.all()


def test_a_second_run_touches_no_image(data, encoder, tmp_path):
    first = embed(data, encoder, tmp_path / "cache", **OPTIONS)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    second = embed(data, encoder, tmp_path / "cache", **OPTIONS)
    assert (first.features == second.features).all()


def test_other_weights_or_images_are_another_key(data, encoder, tmp_path):
    folders = {open_cache(data, encoder, tmp_path, batch_size=4, shard_batches=2).directory}
    other = Encoder(encoder.module, to_float, (4, 4, 3), {"weights": "v"})
    folders.add(open_cache(data, other, tmp_path, batch_size=4, shard_batches=2).directory)
    Image.new("RGB", (50, 50)).save(tmp_path / "3.png")
    changed = datasets.load("table", tmp_path, table="t.csv")
    folders.add(open_cache(changed, encoder, tmp_path, batch_size=4, shard_batches=2).directory)
    assert len(folders) == 3


def test_unreadable_images_are_quarantined_named_and_counted(data, encoder, tmp_path):
    (tmp_path / "5.png").write_bytes(b"not an image")
    (tmp_path / "36.png").unlink()
    embedded = embed(data, encoder, tmp_path / "cache", max_unreadable=0.1, **OPTIONS)
    assert [(entry["row"], entry["image"]) for entry in embedded.quarantined] == [
        (5, "5.png"),
        (36, "36.png"),
    ]
    assert "UnidentifiedImageError" in embedded.quarantined[0]["reason"]
    assert np.flatnonzero(~embedded.valid).tolist() == [5, 36]
    assert (embedded.features[[5, 36]] == 0).all()
    assert (embedded.features[:5] != 0).any()


def test_too_many_unreadable_images_fail_and_lose_nothing(data, encoder, tmp_path):
    for i in range(20, 25):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"[1-5] of 37 images of table cannot be read.*20\.png"):
        embed(data, encoder, tmp_path / "cache", max_unreadable=0.02, **OPTIONS)
    store = open_cache(data, encoder, tmp_path / "cache", batch_size=4, shard_batches=2)
    assert sum(map(len, store.missing())) <= 37 - 16


def test_a_damaged_shard_is_named(data, encoder, tmp_path):
    embed(data, encoder, tmp_path / "cache", **OPTIONS)
    store = open_cache(data, encoder, tmp_path / "cache", batch_size=4, shard_batches=2)
    shard = sorted(store.directory.glob("*.npy"))[1]
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match=f"damaged: .*{shard.name}"):
        embed(data, encoder, tmp_path / "cache", **OPTIONS)


def test_a_cache_in_use_is_not_written_by_two(data, encoder, tmp_path):
    store = open_cache(data, encoder, tmp_path / "cache", batch_size=4, shard_batches=2)
    with store.lock(), pytest.raises(UserError, match="being computed by another run"):
        embed(data, encoder, tmp_path / "cache", **OPTIONS)


SLOW = """
import sys, time
from pathlib import Path
from helpers.projection import OPTIONS, make_encoder, to_float
from fairjax import datasets
from fairjax.embeddings import embed

def slow(image):
    time.sleep(0.05)
    return to_float(image)

root = Path(sys.argv[1])
data = datasets.load("table", root, table="t.csv")
embed(data, make_encoder(slow), root / "cache", threads=1, **OPTIONS)
"""


def test_a_killed_extraction_resumes_to_the_same_bits(data, encoder, tmp_path):
    store = open_cache(data, encoder, tmp_path / "cache", batch_size=4, shard_batches=2)
    kill_when(
        lambda: len(list(store.directory.glob("rows-*.npy"))) >= 2, SLOW, tmp_path, seconds=60
    )
    done = 37 - sum(map(len, store.missing()))
    assert 0 < done < 37
    resumed = embed(data, encoder, tmp_path / "cache", **OPTIONS)
    undisturbed = embed(data, encoder, tmp_path / "other", **OPTIONS)
    assert (resumed.features == undisturbed.features).all()


PROCESSES = """
import sys
from pathlib import Path
from helpers.projection import OPTIONS, make_encoder
from fairjax import datasets
from fairjax.embeddings import embed
if __name__ == "__main__":
    data, root = datasets.load("synthetic", n_patients=12), Path(sys.argv[1])
    threads = embed(data, make_encoder(), root / "a", **OPTIONS)
    processes = embed(data, make_encoder(), root / "b", processes=1, **OPTIONS)
    assert (threads.features == processes.features).all() and threads.features.any()
"""


def test_reader_processes_give_the_same_features(tmp_path):
    """From a file, as workers import the main module; slower than threads to start, so once."""
    path = tmp_path / "main.py"
    path.write_text(PROCESSES)
    subprocess.run([sys.executable, str(path), str(tmp_path)], check=True, timeout=180)


class Queries(Projection):
    """Two vectors per image beside the feature that is probed."""

    def encode_image(self, images):
        features = self.probe_features(images)
        return jnp.stack([features, 2 * features], axis=1)


def test_another_output_is_another_key_and_may_be_reduced_shard_by_shard(data, tmp_path):
    probe = Encoder(Queries(), to_float, (4, 4, 3), {"weights": "w"})
    image = probe.of("image")
    folders = [
        open_cache(data, of, tmp_path / "cache", batch_size=4, shard_batches=2).directory
        for of in (probe, image)
    ]
    assert folders[0] != folders[1]
    assert probe.cache_key == {"weights": "w"}  # as before there was a choice
    embedded = embed(data, image, tmp_path / "cache", **OPTIONS)
    np.testing.assert_allclose(
        embedded.features, np.stack([expected(data), 2 * expected(data)], 1), rtol=1e-5, atol=1e-5
    )
    sizes = []

    def keep(features):
        sizes.append(len(features))
        return features.max(1)

    kept = embed(data, image, tmp_path / "cache", keep=keep, **OPTIONS)
    np.testing.assert_array_equal(kept.features, embedded.features.max(1))
    assert max(sizes) <= OPTIONS["batch_size"] * OPTIONS["shard_batches"] + 8
    with pytest.raises(UserError, match="feature of an encoder"):
        probe.of("pixels")


def test_a_probe_that_is_the_image_embedding_shares_its_cache(tmp_path):
    from fairjax import models

    tower = {"width": 8, "depth": 1, "heads": 2, "mlp_dim": 8}
    for name, same in (("clip", True), ("clip_hf", False)):
        module = models.build(
            name, vision=tower, text=tower | {"vocab_size": 9, "context_length": 4}, embed_dim=8
        )
        encoder = Encoder(module, to_float, (4, 4, 3), {"weights": "w"})
        assert (encoder.of("image").cache_key == encoder.cache_key) == same
