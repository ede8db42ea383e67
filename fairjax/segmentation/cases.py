"""Renders single cases: image, true mask, predicted mask and prompt, drawn over each other."""

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

from fairjax.models.sam.tokens import BOTTOM_RIGHT, NEGATIVE, TOP_LEFT, Points
from fairjax.segmentation.decode import SELECTIONS, masks_of_prompt
from fairjax.segmentation.loader import loader
from fairjax.segmentation.task import PromptedTask

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


def render(task: PromptedTask, wanted: list[tuple[int, int, int]], selection: str) -> list[Case]:
    """Segments a few objects again, to be shown.

    Args:
      task: what was segmented; images are embedded again.
      wanted: (row of the image, index of the object in it, index of the prompt among
        `PromptPlan.instances`).
      selection: one of `SELECTIONS`.
    """
    load = loader(dataclasses.replace(task, source=None))
    graph, state = nnx.split(task.segmenter.module)
    transform = task.segmenter.transform

    @jax.jit
    def candidates(state: nnx.State, one: dict[str, Any], coords: Any, labels: Any):
        module: Any = nnx.merge(graph, state)
        embedding, points = module.embed(one["pixels"][None]), Points(coords, labels)
        matrices = one["rows"], one["columns"]
        return masks_of_prompt(module, embedding, points, *matrices, transform.masks)

    cases = []
    for row, index, prompt in wanted:
        _, arrays, _ = load.map(row)
        assert isinstance(arrays, dict)
        q = index * len(task.plan.instances) + prompt
        coords, labels = arrays["coords"][q], arrays["labels"][q]
        masks, iou = map(np.asarray, candidates(state, arrays, coords, labels))
        true = arrays["truth"][index]
        overlap = [2 * (mask & true).sum() / max(mask.sum() + true.sum(), 1) for mask in masks]
        best = np.argmax(iou) if selection == SELECTIONS[0] else np.argmax(overlap)
        image = task.dataset.read(load.images[row])
        h = int(arrays["rows"].any(axis=1).sum())
        w = int(arrays["columns"].any(axis=1).sum() + task.scoring.skip_first_column)
        resized = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
        height, width = image.shape[:2]
        used = transform.to_input(np.array([width, height]), height, width)
        drawn = labels >= NEGATIVE
        points = coords[drawn] * (np.array([w, h]) / used)
        cases.append(
            Case(np.asarray(resized), true[:h, :w], masks[best][:h, :w], points, labels[drawn])
        )
    return cases


def overlay(case: Case) -> Image.Image:
    """Draws an image: outlines of truth (green) and mask (orange), and the prompt (yellow)."""
    h, w, _ = case.image.shape
    scale = SIDE / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    pixels = np.array(Image.fromarray(case.image).resize(size, Image.Resampling.BILINEAR))
    for mask, colour in ((case.true, TRUTH), (case.mask, MASK)):
        upsampled = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        pixels[upsampled & ~ndimage.binary_erosion(upsampled, iterations=2)] = colour
    drawn = Image.fromarray(pixels)
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


def data_uri(image: Image.Image) -> str:
    """Encodes an image for a page: JPEG, base64."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
