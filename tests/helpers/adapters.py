"""A small sweep of adapters on a tower that overlooks what the label depends on."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import Encoder
from fairjax.models.layers import MLP
from fairjax.training.lora.sweep import sweep_lora
from fairjax.training.lora.tower import LoRA
from fairjax.training.program import ProbeConfig
from fairjax.training.runs import Run, expand
from fairjax.training.sweep import Features, Groups

SIDE, D = 2, 6  # of the images, in pixels; of the features
SHORT = ProbeConfig(epochs=3, warmup_epochs=1, batch_size=16)
SETTINGS = LoRA(rank=2, alpha=4.0, targets=("mlp.fc1", "mlp.fc2"))
RUNS = [*expand(2, (1e-2, 3e-2), (0.05,)), Run(7, 0.02, 0.0)]
SIZES = {"train": 75, "validation": 40, "test": 60}


class Blind(nnx.Module):
    """A tower that does not look at the first number of an image, on which the label depends."""

    def __init__(self):
        self.mlp = MLP(3 * SIDE**2, 8, "gelu", rngs=nnx.Rngs(0))
        self.out = nnx.Linear(3 * SIDE**2, D, rngs=nnx.Rngs(1))
        self.mlp.fc1.kernel[...] = self.mlp.fc1.kernel[...].at[0].set(0.0)

    def probe_features(self, images):
        return self.out(self.mlp(images.reshape(len(images), -1)))


def pixels(image: str) -> np.ndarray:
    return np.random.default_rng(int(image)).normal(size=(SIDE, SIDE, 3)).astype(np.float32)


def as_it_is(image: np.ndarray) -> np.ndarray:
    return image


@dataclasses.dataclass(frozen=True)
class World:
    dataset: Dataset
    rows: dict
    encoder: Encoder
    features: Features
    groups: Groups

    def sweep(self, folder, runs=RUNS, config=SHORT, **options):
        options = {"settings": SETTINGS, "groups": self.groups, "progress": False} | options
        return sweep_lora(
            self.dataset, self.rows, self.encoder, self.features, runs, config, folder, **options
        )

    def images(self, side):
        return np.stack([pixels(self.dataset.table["image"].iloc[row]) for row in self.rows[side]])


def make_world() -> World:
    n = sum(SIZES.values())
    names = [str(i) for i in range(n)]
    images = np.stack([pixels(name) for name in names])
    labels = (images[:, 0, 0, 0] > 0).astype(int)
    table = pd.DataFrame({"image": names, "patient": names, "label": labels})
    order = np.random.default_rng(5).permutation(n)
    rows = dict(zip(SIZES, np.split(order, np.cumsum(list(SIZES.values()))[:-1])))
    module = Blind()
    x = np.asarray(module.probe_features(jnp.asarray(images)))
    features = Features(
        {side: x[of] for side, of in rows.items()},
        {side: labels[of] for side, of in rows.items()},
        rows["train"] // 2,
        {"made": "up"},
    )
    groups = Groups(np.random.default_rng(6).integers(0, 2, SIZES["train"]), 2)
    return World(
        Dataset("made_up", table, pixels, "f"),
        rows,
        Encoder(module, as_it_is, (SIDE, SIDE, 3), {}),
        features,
        groups,
    )


def scores(swept, name="test_scores"):
    return {run.name: row for runs, arrays in swept for run, row in zip(runs, arrays[name])}
