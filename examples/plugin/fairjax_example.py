"""One of everything that a user can add to fairjax, from outside its repository."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fairjax import register
from fairjax.datasets.dataset import Dataset
from fairjax.metrics.table import Metric, divide
from fairjax.tasks.classification.condition import Condition, Forecast, Usage
from fairjax.tasks.classification.subject import Subject
from fairjax.training import class_prompts
from fairjax.training.objectives.base import Objective, Strength, weighted_mean
from fairjax.training.postprocessing.table import Postprocessor
from fairjax.training.store import Sweep

SIDE = 16  # pixels


@dataclasses.dataclass(frozen=True)
class TintedImages:
    """Reads an image: noise that is redder where the finding is, less so in women."""

    table: pd.DataFrame

    def __call__(self, image: str) -> np.ndarray:
        """Makes the pixels (SIDE, SIDE, 3), uint8."""
        row = self.table.loc[image]
        pixels = np.random.default_rng(int(image)).normal(128, 30, (SIDE, SIDE, 3))
        pixels[..., 0] += row["label"] * (6 if row["sex"] == "male" else 2)
        return np.clip(pixels, 0, 255).astype(np.uint8)


def tinted(root: str | None = None, n_patients: int = 400) -> Dataset:
    """Loads a dataset that needs no files: one image per patient, with sex and age.

    Args:
      root: not used.
      n_patients: how many there are.
    """
    rng, images = np.random.default_rng(0), np.arange(n_patients).astype(str)
    columns = {"image": images, "patient": images, "label": rng.integers(0, 2, n_patients)}
    sexes, ages = (rng.integers(0, 2, n_patients) for _ in range(2))
    attributes = {
        "sex": pd.Categorical.from_codes(sexes, ["female", "male"]),
        "age": pd.Categorical.from_codes(ages, ["<60", "≥60"]),
    }
    table = pd.DataFrame(columns | attributes)
    return Dataset("tinted", table, TintedImages(table.set_index("image")), f"{n_patients}")


def mean_colour(images: jax.Array) -> jax.Array:
    """Embeds images (b, h, w, 3) as the mean and the deviation of each channel (b, 6)."""
    return jnp.concatenate([images.mean((1, 2)), images.std((1, 2))], axis=1)


def focal_loss(step, gamma, state):
    """Weighs a loss L by (1 − e^−L)^γ: what is learnt already counts less (Lin et al. 2017)."""
    weights = (1 - jnp.exp(-step.losses)) ** gamma[:, None]
    return weighted_mean(weights * step.losses, step.weights), state


FOCAL = Objective(
    name="focal",
    title="the focal loss",
    paper="Lin et al. 2017, Focal loss for dense object detection",
    loss=focal_loss,
    strength=Strength("focus γ", 2.0, (0.5, 1.0, 2.0, 4.0)),
    grouped=False,
)

THREAT_SCORE = Metric(
    label="Threat score",
    compute=lambda t: divide(t.tp, t.tp + t.fp + t.fn),
    needs=("above",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    source="TP / (TP + FP + FN)",
)


@dataclasses.dataclass(frozen=True)
class NearestMean(Usage):
    """The class whose mean embedding is nearer: nothing is trained."""

    def methods(self, cfg):
        """Returns `none`, as the results call it."""
        return ("none",)

    def needs_groups(self, method):
        """Returns False: there is no method."""
        return False

    def runs(self, config, method):
        """One, without seed or hyper-parameters."""
        return [class_prompts.ONLY_RUN]

    def check(self, condition: Condition, subject: Subject) -> None:
        """Accepts every model and dataset."""

    def forecast(self, condition: Condition, subject: Subject) -> Forecast:
        """Says that there is nothing to train."""
        return Forecast(self.name, "two means")

    def train(self, condition: Condition, subject: Subject, directory: Path) -> Sweep:
        """Compares squared distances from the classes' means, as logits."""
        features = subject.features.standardized()
        x, y = features.x["train"], features.y["train"]
        means = np.stack([x[y == label].mean(0) for label in (0, 1)])
        logits = {
            split: -np.square(rows[:, None] - means).sum(-1) / 2
            for split, rows in features.x.items()
        }
        scored = dataclasses.replace(features, x=logits)
        return class_prompts.zero_shot_sweep(scored, means, directory)


def fit_shift(scores_rn, labels, codes, n_groups):
    """Finds the shift (r, 1) of the logits by which the mean score is the prevalence."""
    low, high = np.full((len(scores_rn), 1), -10.0), np.full((len(scores_rn), 1), 10.0)
    for _ in range(40):
        middle = (low + high) / 2
        above = shift(middle, scores_rn, codes).mean(1, keepdims=True) > labels.mean()
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def shift(rule, scores_rn, codes):
    """Shifts the logits of scores (r, n)."""
    clipped = np.clip(np.asarray(scores_rn, np.float64), 1e-6, 1 - 1e-6)
    return 1 / (1 + np.exp(np.log(1 / clipped - 1) - rule))


PRIOR_SHIFT = Postprocessor(
    title="mean score shifted to the prevalence",
    paper="Saerens et al. 2002, Adjusting the outputs of a classifier to new priors",
    fit=fit_shift,
    apply=shift,
)


def register_all() -> None:
    """Adds all of them; the entry point of `pyproject.toml`."""
    register.dataset("tinted", tinted)
    register.model("mean_colour", mean_colour, image_size=SIDE, title="Mean colour")
    register.objective(FOCAL)
    register.metric("threat_score", THREAT_SCORE)
    register.usage(NearestMean("nearest_mean", "nearest class mean"))
    register.postprocessor("prior_shift", PRIOR_SHIFT)
