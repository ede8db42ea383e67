"""Zero-shot classification: classes are described by prompts, and a test image needs no training at
all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fairjax.models.protocols import ZeroShotClassifier
from fairjax.utils.errors import UserError


def expand_prompts(
    templates: Sequence[str], synonyms: Sequence[Sequence[str]]
) -> tuple[list[str], Int[np.ndarray, " n"]]:
    """Every template with every synonym of every class.

    Args:
      templates: sentences with a `{}` for the name of the class, such as "a chest radiograph of
        {}".
      synonyms: per class, the names it goes by.

    Returns:
      n prompts, and the class that each is of.

    Raises:
      UserError: a template has no place for the name, or a class no name.
    """
    if faulty := [template for template in templates if template.count("{}") != 1]:
        raise UserError(
            "a prompt template needs exactly one {} for the name of the class, unlike "
            f"{faulty[0]!r}"
        )
    if not templates or not synonyms or not all(synonyms):
        raise UserError("zero-shot classification needs a template, and a name for every class")
    rows = [
        (t.replace("{}", name), k)
        for k, names in enumerate(synonyms)
        for name, t in itertools.product(names, templates)
    ]
    return [prompt for prompt, _ in rows], np.array([k for _, k in rows])


def class_embeddings(
    prompts: Float[Array, "n d"], classes: Int[Array, " n"], n_classes: int
) -> Float[Array, "k d"]:
    """The ensemble of each class's prompts: the average of their normalised embeddings, normalised.

    Args:
      prompts: embeddings of n prompts.
      classes: the class 0..n_classes-1 of each; every class has one.
      n_classes: k.

    Returns:
      (k, d), of length 1. Source: Radford et al. 2021, section 3.1.4.
    """
    unit = prompts / jnp.linalg.norm(prompts, axis=1, keepdims=True)
    mean = (
        jax.ops.segment_sum(unit, classes, n_classes)
        / jnp.bincount(classes, length=n_classes)[:, None]
    )
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)


def zero_shot_scores(
    module: ZeroShotClassifier, images: Float[Array, "b *q d"], classes: Float[Array, "k d"]
) -> Float[Array, "b k"]:
    """Probabilities of the classes: softmax of the logits as the model defines them (scale, bias,
    normalisation).

    Args:
      module: a model with two towers; its `zero_shot_logits` makes logits of embeddings.
      images: from its `encode_image`.
      classes: from `class_embeddings`.

    Returns:
      (b, k), each row summing to 1.
    """
    return jax.nn.softmax(
        module.zero_shot_logits(jnp.asarray(images), jnp.asarray(classes)), axis=-1
    )
