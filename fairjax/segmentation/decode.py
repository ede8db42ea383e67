"""On the devices: one embedding per image, all prompts of it decoded, and every mask compared with
the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fairjax.metrics.overlap import MEASURES, dice
from fairjax.models.protocols import Embedding, MaskFormat, Promptable
from fairjax.models.sam.tokens import Points
from fairjax.segmentation.segmenter import Scoring

# prompts of an image that are decoded together: bounds memory, about 60 MB each at 1024 pixels
PROMPTS_AT_ONCE = 16
# the candidate with the highest predicted IoU, and that with the highest Dice
SELECTIONS = ("predicted", "oracle")


def upsample(
    masks: Float[Array, "*s h w"],
    rows: Float[Array, "H h"],
    columns: Float[Array, "W w"],
    space: str = "logits",
) -> Float[Array, "*s H W"]:
    """Upsamples masks by two matrices, as logits or as probabilities; in full float32, which
    decides on borders.
    """
    values = jax.nn.sigmoid(masks) if space == "probabilities" else masks
    return jnp.einsum("Hh,...hw,Ww->...HW", rows, values, columns, precision="highest")


def masks_of_prompt(
    module: Promptable,
    embedding: Embedding,
    points: Points,
    rows: Array,
    columns: Array,
    masks: MaskFormat,
) -> tuple[Bool[Array, "m H W"], Float[Array, " m"]]:
    """Decodes one prompt: its candidate masks at the size of the image, and their predicted IoU.

    Args:
      module: the model.
      embedding: that of one image, (1, …).
      points: tokens of one prompt: coords (t, 2), labels (t,).
      rows: (H, h), from `InputTransform.matrices`.
      columns: (W, w), likewise.
      masks: how decoded masks become those of an image.
    """
    asked = Points(points.coords[None, None], points.labels[None, None])
    candidates, iou = module.propose(embedding, asked)
    upsampled = upsample(candidates[0, 0], rows, columns, masks.space)
    return upsampled > masks.threshold, iou[0, 0]


def measure_batch(
    module: Promptable,
    batch: Mapping[str, Array],
    *,
    embed: Callable[[Any, Array], Embedding],
    masks: MaskFormat,
    scoring: Scoring,
) -> Float[Array, "b n"]:
    """Embeds a batch of images and measures the masks of all their prompts.

    Args:
      module: the model.
      batch: `pixels` (b, …), what `embed` takes; `coords` (b, q, t, 2) and `labels` (b, q, t) of q
        prompts; `target` (b, q), the object that each is for; `truth` (b, o, H, W) of the objects;
        `rows` (b, H, h), `columns` (b, W, w); `spacing` (b, 2), edges of a pixel (y, x).
      embed: module, what is read of images → their embedding.
      masks: how decoded masks become those of an image.
      scoring: how masks are compared with the truth.

    Returns:
      (b, q · (2 · metrics + 1)): of each prompt, the metrics of the mask with the highest predicted
      IoU, those of the mask with the highest Dice, and the highest predicted IoU.
    """
    embedding = embed(module, batch["pixels"])
    tolerance, empty = jnp.float32(scoring.tolerance), jnp.float32(scoring.empty)

    def image(one: dict[str, Any]) -> Float[Array, " n"]:
        of_image = jax.tree.map(lambda x: x[None], one["embedding"])

        def prompt(asked: tuple[Array, Array, Array]) -> Float[Array, " k"]:
            coords, labels, target = asked
            points = Points(coords, labels)
            found, iou = masks_of_prompt(
                module, of_image, points, one["rows"], one["columns"], masks
            )
            true = one["truth"][target]
            overlap = jax.vmap(lambda mask: dice(mask, true, scoring.empty))(found)
            chosen = [found[jnp.argmax(iou)], found[jnp.argmax(overlap)]]
            measured = [
                MEASURES[name].of(mask, true, one["spacing"], tolerance, empty)
                for mask in chosen
                for name in scoring.metrics
            ]
            return jnp.stack([*measured, iou.max()])

        asked = one["coords"], one["labels"], one["target"]
        at_once = min(PROMPTS_AT_ONCE, len(one["target"]))
        return jax.lax.map(prompt, asked, batch_size=at_once).reshape(-1)

    return jax.lax.map(image, {**batch, "embedding": embedding})
