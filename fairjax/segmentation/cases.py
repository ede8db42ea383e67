"""Single cases to look at: image, true mask, predicted mask and prompt, drawn over each other."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from fairjax.datasets.dataset import Dataset
from fairjax.models.sam.tokens import BOTTOM_RIGHT, NEGATIVE, TOP_LEFT, Points
from fairjax.segmentation.decode import SELECTIONS, masks_of_prompt
from fairjax.segmentation.loader import LoadPrompted
from fairjax.segmentation.segmenter import Segmenter

TRUTH, MASK, PROMPT = (0, 158, 115), (230, 97, 0), (255, 230, 0)  # green, orange, yellow
SIDE = 320  # pixels of the longer side of an overlay


@dataclasses.dataclass(frozen=True)
class Case:
    """One object under one prompt, at the size that masks are compared at.

    Attributes:
      image: uint8 (H, W, 3).
      true, mask: (H, W).
      coords, labels: the tokens that are points or corners, in pixels of `image`.
    """

    image: UInt8[np.ndarray, "H W 3"]
    true: Bool[np.ndarray, "H W"]
    mask: Bool[np.ndarray, "H W"]
    coords: Float[np.ndarray, "t 2"]
    labels: Int[np.ndarray, " t"]


def look(
    dataset: Dataset,
    segmenter: Segmenter,
    load: LoadPrompted,
    wanted: list[tuple[int, int, int]],
    selection: str,
) -> list[Case]:
    """Segments a few objects again, to be looked at.

    Args:
      dataset, segmenter: as they were measured.
      load: from `infer.loader`.
      wanted: (row of the image, place of the object in it, place of the prompt among
        `Plan.instances`).
      selection: of `SELECTIONS`.
    """
    graph, state = nnx.split(segmenter.module)
    frame = segmenter.frame

    @jax.jit
    def candidates(state: nnx.State, one: dict[str, Any], coords: Any, labels: Any):
        module: Any = nnx.merge(graph, state)
        embedding = module.embed(one["pixels"][None])
        points = Points(coords, labels)
        return masks_of_prompt(
            module, embedding, points, one["rows"], one["columns"], frame.space, frame.threshold
        )

    cases = []
    for row, place, number in wanted:
        _, arrays, _ = load.map(row)
        assert isinstance(arrays, dict)
        image = dataset.read(load.images[row])
        used = (
            arrays["rows"].any(axis=1).sum(),
            arrays["columns"].any(axis=1).sum() + load.scoring.skip_first_column,
        )
        q = place * len(load.plan.instances) + number
        masks, iou = (
            np.asarray(x)
            for x in candidates(state, arrays, arrays["coords"][q], arrays["labels"][q])
        )
        true = arrays["truth"][place]
        overlap = [2 * (mask & true).sum() / max(mask.sum() + true.sum(), 1) for mask in masks]
        best = np.argmax(iou) if selection == SELECTIONS[0] else np.argmax(overlap)
        h, w = used
        resized = np.asarray(
            Image.fromarray(image).resize((int(w), int(h)), Image.Resampling.BILINEAR)
        )
        shown = arrays["labels"][q] >= NEGATIVE
        scale = np.array([w, h]) / np.array(
            frame.to_frame(np.array([image.shape[1], image.shape[0]]), *image.shape[:2])
        )
        coords = arrays["coords"][q][shown] * scale
        cases.append(
            Case(resized, true[:h, :w], masks[best][:h, :w], coords, arrays["labels"][q][shown])
        )
    return cases


def overlay(case: Case) -> Image.Image:
    """The picture: outlines of truth (green) and mask (orange), and the prompt (yellow)."""
    h, w, _ = case.image.shape
    scale = SIDE / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    picture = np.array(Image.fromarray(case.image).resize(size, Image.Resampling.BILINEAR))
    for mask, colour in ((case.true, TRUTH), (case.mask, MASK)):
        enlarged = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        picture[enlarged & ~ndimage.binary_erosion(enlarged, iterations=2)] = colour
    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    corners = {}
    for (x, y), label in zip((case.coords + 0.5) * scale, case.labels):
        if label in (TOP_LEFT, BOTTOM_RIGHT):
            corners[label] = (x, y)
        else:
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=PROMPT, outline=(0, 0, 0))
    if len(corners) == 2:
        pen.rectangle([*corners[TOP_LEFT], *corners[BOTTOM_RIGHT]], outline=PROMPT, width=2)
    return drawn


def data_uri(picture: Image.Image) -> str:
    """A picture inside a page: JPEG, base64."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
