"""On the devices: one embedding per image, all prompts of it decoded, and every mask compared with
the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fairjax.metrics.overlap import MEASURES, dice
from fairjax.models.sam.tokens import Points

# prompts of an image that are decoded together: bounds memory, about 60 MB each at 1024 pixels
AT_ONCE = 16
SELECTIONS = (
    "predicted",
    "oracle",
)  # the candidate with the highest predicted IoU, and that with the highest Dice


def enlarge(
    masks: Float[Array, "*s h w"],
    rows: Float[Array, "H h"],
    columns: Float[Array, "W w"],
    space: str = "logits",
) -> Float[Array, "*s H W"]:
    """Enlarges masks by two matrices, as logits or as probabilities; in full float32, which decides
    on borders.
    """
    values = jax.nn.sigmoid(masks) if space == "probabilities" else masks
    return jnp.einsum("Hh,...hw,Ww->...HW", rows, values, columns, precision="highest")


def masks_of_prompt(
    module: Any,
    embedding: dict[str, Array],
    points: Points,
    rows: Array,
    columns: Array,
    space: str,
    threshold: float,
) -> tuple[Bool[Array, "m H W"], Float[Array, " m"]]:
    """The candidate masks of one prompt at the size of its image, and their predicted IoU.

    Args:
      module: a `SAM`.
      embedding: of one image, (1, …).
      points: of one prompt: coords (t, 2), labels (t,).
      rows, columns: (H, h) and (W, w), from `Frame.matrices`.
      space, threshold: from `Frame`.
    """
    decoded = module.decode(embedding, Points(points.coords[None, None], points.labels[None, None]))
    masks, iou = module.candidates(decoded)
    return enlarge(masks[0, 0], rows, columns, space) > threshold, iou[0, 0]


def measure_batch(
    module: Any,
    batch: Mapping[str, Array],
    *,
    space: str,
    threshold: float,
    tolerance: float,
    empty: float,
    measures: tuple[str, ...],
) -> Float[Array, "b n"]:
    """Embeds a batch of images and measures the masks of all their prompts.

    Args:
      module: a `SAM`.
      batch: `pixels` (b, S, S, 3); `coords` (b, q, t, 2) and `labels` (b, q, t) of q prompts;
        `target` (b, q), the object that each is for; `truth` (b, o, H, W) of the objects; `rows`
        (b, H, h), `columns` (b, W, w); `spacing` (b, 2), edges of a pixel (y, x).
      space, threshold: how masks are cut, from `Frame`.
      tolerance: of `nsd`, in the unit of `spacing`.
      empty: the Dice of two empty masks.
      measures: names from `MEASURES`.

    Returns:
      (b, q · (2 · measures + 1)): of each prompt, the measures of the mask with the highest
      predicted IoU, those of the mask with the highest Dice, and the highest predicted IoU.
    """
    embedding = module.embed(batch["pixels"])

    def image(one: dict[str, Any]) -> Float[Array, " n"]:
        of_image = jax.tree.map(lambda x: x[None], one["embedding"])

        def prompt(asked: tuple[Array, Array, Array]) -> Float[Array, " k"]:
            coords, labels, target = asked
            points = Points(coords, labels)
            masks, iou = masks_of_prompt(
                module, of_image, points, one["rows"], one["columns"], space, threshold
            )
            true = one["truth"][target]
            overlap = jax.vmap(lambda mask: dice(mask, true, empty))(masks)
            chosen = [masks[jnp.argmax(iou)], masks[jnp.argmax(overlap)]]
            found = [
                MEASURES[name].of(
                    mask, true, one["spacing"], jnp.float32(tolerance), jnp.float32(empty)
                )
                for mask in chosen
                for name in measures
            ]
            return jnp.stack([*found, iou.max()])

        asked = one["coords"], one["labels"], one["target"]
        return jax.lax.map(prompt, asked, batch_size=min(AT_ONCE, len(one["target"]))).reshape(-1)

    return jax.lax.map(image, {**batch, "embedding": embedding})
