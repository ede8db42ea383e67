"""Classes from descriptions: text embeddings of both, zero-shot scores of them, and heads that
begin at them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from scipy.special import expit

from fairjax import __version__
from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.prompts import TextEncoder, embed_prompts
from fairjax.models.protocols import ZeroShotClassifier
from fairjax.training import store
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.training.sweep import Features
from fairjax.training.zero_shot import class_embeddings, expand_prompts
from fairjax.utils.errors import UserError
from fairjax.utils.storage import hash_arrays, hash_json, write_json

ONLY_RUN = Run(0, 0.0, 0.0)  # zero-shot classification has neither seed nor hyper-parameters


def class_prompts(
    dataset: Dataset,
    templates: Sequence[str] = (),
    negative: Sequence[str] = (),
    positive: Sequence[str] = (),
) -> tuple[list[str], np.ndarray]:
    """Prompts for both classes of a dataset: every template with every name of a class.

    Args:
      dataset: whose catalog entry has a template and a name for each class; those count where
        nothing else is given.
      templates: sentences with a `{}` for the name of the class.
      negative: names of the negative class.
      positive: names of the positive class.

    Returns:
      n prompts, and the class (0 or 1) that each is of.

    Raises:
      UserError: neither the dataset nor the arguments say how the classes are called, or a template
        is none.
    """
    known = tuple(dataset.info.get("classes") or ("", ""))
    templates = list(templates) or [text for text in (dataset.info.get("prompt", ""),) if text]
    names = [
        list(given) or [name for name in (own,) if name]
        for given, own in zip((negative, positive), known)
    ]
    if not templates or not all(names):
        raise UserError(
            f"{dataset.name} does not say how its classes are described: give templates such as "
            "'a photo of a {}', and names of the negative and of the positive class"
        )
    return expand_prompts(templates, names)


def embed_classes(
    dataset: Dataset,
    encoder: TextEncoder,
    root: str | os.PathLike,
    templates: Sequence[str] = (),
    negative: Sequence[str] = (),
    positive: Sequence[str] = (),
) -> Float[np.ndarray, "2 d"]:
    """The ensemble of prompts of the negative and of the positive class, of length 1; prompts are
    embedded once.

    Args:
      dataset: as in `class_prompts`.
      encoder: the frozen text tower.
      root: folder of the caches.
      templates: as in `class_prompts`.
      negative: names of the negative class.
      positive: names of the positive class.

    Raises:
      UserError: as `class_prompts` and `fairjax.embeddings.embed_prompts`.
    """
    prompts, classes = class_prompts(dataset, templates, negative, positive)
    embedded = embed_prompts(prompts, encoder, root)
    return np.asarray(class_embeddings(jnp.asarray(embedded), jnp.asarray(classes), 2))


def logits_of(
    module: nnx.Module, classes: Float[np.ndarray, "2 d"]
) -> Callable[[np.ndarray], Float[np.ndarray, "b 2"]]:
    """A function of image embeddings (b, d) or (b, q, d): the model's zero-shot logits of both
    classes.

    It fits `fairjax.embeddings.embed` as `keep`.

    Raises:
      UserError: the model has no text tower.
    """
    require_texts(module)
    graph, state = nnx.split(module)

    @jax.jit
    def logits(state, images, classes):
        merged: Any = nnx.merge(graph, state)
        return merged.zero_shot_logits(images, classes)

    return lambda images: np.asarray(logits(state, images, classes))


def zero_shot_sweep(features: Features, classes: Float[np.ndarray, "2 d"], folder: Path) -> Sweep:
    """Zero-shot classification in the form of a sweep: one run, without anything that was trained.

    Args:
      features: those whose `x` are logits (n, 2), as `logits_of` gives them.
      classes: that they are of.
      folder: where chunks are kept.

    Returns:
      A sweep of `ONLY_RUN`. Its scores are the softmax's probabilities of the positive class.
    """
    identity = {
        "fairjax": __version__,
        "features": features.key,
        "classes": hash_arrays({"classes": np.asarray(classes)}),
        "usage": "zero_shot",
    }
    folder = folder / hash_json(identity)[:12]
    write_json(folder / "sweep.json", identity)
    if not store.read(folder):
        margins = {
            split: x[:, 1].astype(np.float64) - x[:, 0]
            for split, x in features.x.items()
            if split != "train"
        }
        loss = np.logaddexp(
            0, np.where(features.y["validation"] > 0, -1, 1) * margins["validation"]
        ).mean()
        arrays = {
            f"{split}_scores": expit(margin)[None].astype(np.float32)
            for split, margin in margins.items()
        }
        arrays |= {
            "validation_loss": np.array([loss], np.float32),
            "best_epoch": np.zeros(1, np.int32),
        }
        store.write(store.chunk_of(folder, [ONLY_RUN]), arrays)
    return store.gather(folder, [ONLY_RUN])


def prototype_constants(
    module: nnx.Module, classes: Float[np.ndarray, "2 d"]
) -> dict[str, np.ndarray]:
    """What heads begin at that begin at the classes' descriptions, for `Features.constants`.

    With these, `heads.HEADS["prototypes"]` is FairMedFM's usage `clip-adapt`: the text features of
    both classes are what is trained, by the cross-entropy of the softmax of scaled cosines, which
    for two classes is that of the difference of their logits; before the first step the head is the
    zero-shot classifier. `clip_adapter` is the method of that name by Gao et al. 2021, which
    FairMedFM has not: besides, a bottleneck with random weights adapts the image embedding, so that
    it begins near the zero-shot classifier and not at it.

    Args:
      module: a model with two towers, whose zero-shot logits are scaled cosines, plus a constant.
      classes: text embeddings of the negative and the positive class.

    Returns:
      `prototypes` (1, 2, d), and `scale` (1,), what the model multiplies cosines by for zero-shot
      classification.

    Raises:
      UserError: the model's logits are no scaled cosines, as BLIP-2's, or it has no text tower.
    """
    known = require_cosines(module)
    axis = jnp.zeros((1, classes.shape[1])).at[0, 0].set(1.0)
    # scale + bias, −scale + bias
    same, opposite = known.zero_shot_logits(axis, jnp.concatenate([axis, -axis]))[0]
    return {
        "prototypes": np.asarray(classes, np.float32)[None],
        "scale": np.asarray((same - opposite) / 2)[None],
    }


def require_cosines(module: Any) -> ZeroShotClassifier:
    """Refuses a model whose zero-shot logits are no scaled cosines of one embedding per image."""
    known = require_texts(module)
    if getattr(module.config.text, "queries", 0):
        raise UserError(
            f"{type(module).__name__}'s zero-shot logits are the largest of several cosines per "
            "image, which no prototype represents: take zero_shot or linear_probe"
        )
    return known


def require_texts(module: object) -> ZeroShotClassifier:
    """Refuses a model without a text tower."""
    if not isinstance(module, ZeroShotClassifier):
        raise UserError(
            f"{type(module).__name__} has no text tower: classes cannot be described to it"
        )
    return module
