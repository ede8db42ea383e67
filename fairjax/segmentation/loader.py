"""Reads an image with its objects' masks and the tokens of every prompt, for grain's workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import grain
import numpy as np
from PIL import Image

from fairjax.embeddings.read import PADDING, Example
from fairjax.models.sam.tokens import ABSENT
from fairjax.segmentation.image_embeddings import EmbeddingSource
from fairjax.segmentation.objects import ObjectRule
from fairjax.segmentation.prompts import PromptPlan
from fairjax.segmentation.segmenter import Scoring
from fairjax.segmentation.task import PromptedTask
from fairjax.segmentation.transform import InputTransform

BUCKET = 64  # pixels: canvases of masks are multiples of it


@dataclasses.dataclass(frozen=True)
class LoadPrompted(grain.transforms.Map):
    """Reads of an image its pixels, its objects' masks, and the tokens of all of their prompts.

    Attributes:
      images: names by row.
      read, read_mask: image → its pixels, and the codes of its mask.
      n_classes: number of classes in masks.
      rule, plan, transform, scoring, source: as in `PromptedTask`.
      n_objects, n_tokens: the most of any image, and of any prompt.
      canvas: height and width that all true masks fit in.
      spacings: mm along y and x of those images whose files hold it.
    """

    images: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    read_mask: Callable[[str], np.ndarray]
    n_classes: int
    rule: ObjectRule
    plan: PromptPlan
    transform: InputTransform
    scoring: Scoring
    n_objects: int
    n_tokens: int
    canvas: tuple[int, int]
    spacings: Mapping[str, tuple[float, float]]
    source: EmbeddingSource | None = None

    def map(self, row: int) -> Example:
        """Reads and prompts one image."""
        arrays = self._nothing()
        if row == PADDING:
            return row, arrays, ""
        try:
            self._fill(arrays, self.images[row])
        except Exception as error:  # whatever a decoder throws at a broken file
            return row, self._nothing(), f"{type(error).__name__}: {error}"
        return row, arrays, ""

    def _nothing(self) -> dict[str, np.ndarray]:
        n_prompts, (height, width) = len(self.plan.instances), self.canvas
        q, size = self.n_objects * n_prompts, self.transform.preprocess.size
        mask_size = self.transform.mask_size
        return {
            "pixels": np.zeros(self.source.shape if self.source else (size, size, 3), np.float32),
            "coords": np.zeros((q, self.n_tokens, 2), np.float32),
            "labels": np.full((q, self.n_tokens), ABSENT, np.int32),
            "target": np.repeat(np.arange(self.n_objects, dtype=np.int32), n_prompts),
            "truth": np.zeros((self.n_objects, height, width), bool),
            "rows": np.zeros((height, mask_size), np.float32),
            "columns": np.zeros((width, mask_size), np.float32),
            "spacing": np.ones(2, np.float32),
        }

    def _fill(self, arrays: dict[str, np.ndarray], image: str) -> None:
        codes = self.read_mask(image)
        height, width = codes.shape
        arrays["pixels"][...] = (
            self.source.read(image) if self.source else self._pixels(image, codes.shape)
        )
        h, w = self.scoring.compared_size(height, width, self.transform)
        arrays["rows"][:h], arrays["columns"][:w] = self.transform.matrices(h, w)
        spacing = self.spacings.get(image, (self.scoring.spacing, self.scoring.spacing))
        arrays["spacing"][:] = np.array(spacing) * [height / h, width / w]
        if self.scoring.in_input:
            codes, height, width = nearest(codes, h, w), h, w
        for index, (code, component, mask) in enumerate(self.rule.find(codes, self.n_classes)):
            if index == self.n_objects:
                break
            arrays["truth"][index, :h, :w] = nearest(mask, h, w)
            first = index * len(self.plan.instances)
            for q, drawn in enumerate(self.plan.draw(mask, image, f"{code}#{component}"), first):
                arrays["coords"][q], arrays["labels"][q] = self.transform.tokens(
                    drawn, self.n_tokens, height, width
                )
        if self.scoring.skip_first_column:
            arrays["truth"][:, :, 0], arrays["columns"][0] = False, 0.0

    def _pixels(self, image: str, shape: tuple[int, ...]) -> np.ndarray:
        pixels = self.read(image)
        if pixels.shape[:2] != shape:
            raise ValueError(f"the image is {pixels.shape[:2]}, its mask {shape}")
        return self.transform.preprocess(pixels)


def nearest(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """Resizes a mask (or codes of classes) by taking the nearest pixel."""
    if mask.shape == (h, w):
        return mask
    resized = Image.fromarray(mask.astype(np.uint8)).resize((w, h), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(mask.dtype)


def loader(task: PromptedTask) -> LoadPrompted:
    """Makes what reads one image of a task with its prompts."""
    dataset, objects, transform = task.dataset, task.objects, task.segmenter.transform
    sizes = objects.table[["height", "width"]].drop_duplicates().to_numpy().tolist()
    shapes = np.array([task.scoring.compared_size(h, w, transform) for h, w in sizes])
    height, width = (int(-(-side // BUCKET) * BUCKET) for side in shapes.max(axis=0))
    return LoadPrompted(
        images=tuple(dataset.table["image"]),
        read=dataset.read,
        read_mask=dataset.read_mask,
        n_classes=len(dataset.mask_classes),
        rule=task.rule,
        plan=task.plan,
        transform=transform,
        scoring=task.scoring,
        n_objects=objects.max_per_image,
        n_tokens=task.n_tokens,
        canvas=(height, width),
        spacings=objects.spacings(),
        source=task.source,
    )
