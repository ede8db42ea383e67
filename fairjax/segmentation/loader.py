"""Reads an image with its objects' masks and the tokens of every prompt, for grain's workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import grain
import numpy as np
from PIL import Image

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.read import PADDING, Example
from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.sam.tokens import ABSENT, Points, padded, tokens
from fairjax.segmentation.frame import Frame
from fairjax.segmentation.image_embeddings import Source
from fairjax.segmentation.objects import Objects, Rule
from fairjax.segmentation.prompts import KINDS, Plan
from fairjax.segmentation.segmenter import Scoring, Segmenter

BUCKET = 64  # pixels: frames of masks are multiples of it


@dataclasses.dataclass(frozen=True)
class LoadPrompted(grain.transforms.Map):
    """Row → an image's pixels, its objects' masks, and the tokens of every prompt of every object."""

    images: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    read_mask: Callable[[str], np.ndarray]
    n_classes: int
    rule: Rule
    plan: Plan
    frame: Frame
    scoring: Scoring
    n_objects: int
    n_tokens: int
    canvas: tuple[int, int]  # pixels of the frame that all true masks fit in
    low: int
    spacings: Mapping[str, tuple[float, float]]  # mm along y and x of those images that tell it
    source: Source | None = None  # of embeddings, in place of pixels

    def map(self, row: int) -> Example:
        """Reads and prompts one image."""
        arrays = self._nothing()
        if row == PADDING:
            return row, arrays, ""
        try:
            self._fill(arrays, self.images[row])
        except (
            Exception
        ) as error:  # whatever a decoder throws at a broken file, the other images go on
            return row, self._nothing(), f"{type(error).__name__}: {error}"
        return row, arrays, ""

    def _nothing(self) -> dict[str, np.ndarray]:
        n_prompts, (height, width) = len(self.plan.instances), self.canvas
        q, size = self.n_objects * n_prompts, self.frame.preprocess.size
        return {
            "pixels": np.zeros(self.source.shape if self.source else (size, size, 3), np.float32),
            "coords": np.zeros((q, self.n_tokens, 2), np.float32),
            "labels": np.full((q, self.n_tokens), ABSENT, np.int32),
            "target": np.repeat(np.arange(self.n_objects, dtype=np.int32), n_prompts),
            "truth": np.zeros((self.n_objects, height, width), bool),
            "rows": np.zeros((height, self.low), np.float32),
            "columns": np.zeros((width, self.low), np.float32),
            "spacing": np.ones(2, np.float32),
        }

    def _fill(self, arrays: dict[str, np.ndarray], image: str) -> None:
        codes = self.read_mask(image)
        height, width = codes.shape
        arrays["pixels"][...] = (
            self.source.read(image) if self.source else self._pixels(image, codes.shape)
        )
        h, w = compared_size(height, width, self.frame, self.scoring)
        rows, columns = self.frame.matrices(h, w, self.low)
        arrays["rows"][:h], arrays["columns"][:w] = rows, columns
        spacing = self.spacings.get(image, (self.scoring.spacing, self.scoring.spacing))
        arrays["spacing"][:] = np.array(spacing) * [height / h, width / w]
        if self.scoring.in_frame:
            codes, height, width = nearest(codes, h, w), h, w
        for place, (code, component, mask) in enumerate(self.rule.find(codes, self.n_classes)):
            if place == self.n_objects:
                break
            arrays["truth"][place, :h, :w] = nearest(mask, h, w)
            for number, drawn in enumerate(self.plan.draw(mask, image, f"{code}#{component}")):
                at = place * len(self.plan.instances) + number
                arrays["coords"][at], arrays["labels"][at] = as_tokens(
                    drawn, self.frame, self.n_tokens, height, width
                )
        if self.scoring.skip_first_column:
            arrays["truth"][:, :, 0], arrays["columns"][0] = False, 0.0

    def _pixels(self, image: str, shape: tuple[int, ...]) -> np.ndarray:
        pixels = self.read(image)
        if pixels.shape[:2] != shape:
            raise ValueError(f"the image is {pixels.shape[:2]}, its mask {shape}")
        return self.frame.preprocess(pixels)


def as_tokens(
    drawn: np.ndarray, frame: Frame, length: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (length, 2) and labels (length,) of one prompt in the model's frame.

    Args:
      drawn: points (k, 2), or a box (4,), in pixels of the image.
      frame: the model's.
      length: tokens, absent ones at the end.
      height, width: of the image.
    """
    if drawn.ndim == 1:
        box = frame.to_frame(drawn.reshape(2, 2), height, width).reshape(1, 4)
        coords, labels = tokens(frame.decoder, boxes=box)
    else:
        points = frame.to_frame(drawn, height, width)[None]
        coords, labels = tokens(frame.decoder, points, np.ones(points.shape[:2], np.int32))
    one = padded(Points(coords[0], labels[0]), length)
    return one.coords, one.labels


def longest(plan: Plan, decoder: MaskDecoderConfig) -> int:
    """Tokens of the prompt that has most of them."""
    points = [KINDS[kind].n_points for kind in plan.kinds]
    return max(n + 1 if n else 2 + decoder.always_pad for n in points)


def compared_size(height: int, width: int, frame: Frame, scoring: Scoring) -> tuple[int, int]:
    """Height and width that an image's masks are compared at."""
    if scoring.in_frame:
        return frame.preprocess.resized_shape(height, width)
    shrink = min(1.0, scoring.size / max(height, width)) if scoring.size else 1.0
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def nearest(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """A mask (or codes of classes) resized by taking the nearest pixel."""
    if mask.shape == (h, w):
        return mask
    resized = Image.fromarray(mask.astype(np.uint8)).resize((w, h), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(mask.dtype)


def loader(
    dataset: Dataset,
    segmenter: Segmenter,
    objects: Objects,
    rule: Rule,
    plan: Plan,
    scoring: Scoring,
    source: Source | None = None,
) -> LoadPrompted:
    """What reads one image of `dataset` with its prompts."""
    size = segmenter.frame
    sides = objects.table[["height", "width"]].drop_duplicates().to_numpy()
    shapes = np.array([compared_size(h, w, size, scoring) for h, w in sides])
    height, width = (int(-(-side // BUCKET) * BUCKET) for side in shapes.max(axis=0))
    return LoadPrompted(
        tuple(dataset.table["image"]),
        dataset.read,
        dataset.read_mask,
        len(dataset.mask_classes),
        rule,
        plan,
        segmenter.frame,
        scoring,
        objects.most,
        longest(plan, segmenter.frame.decoder),
        (height, width),
        segmenter.low,
        spacings(objects),
        source,
    )


def spacings(objects: Objects) -> dict[str, tuple[float, float]]:
    """Image → edges of its pixels (y, x) in mm, where they are known."""
    told = objects.table.drop_duplicates("image").dropna(subset=["mm_y", "mm_x"])
    return {
        image: (float(y), float(x))
        for image, y, x in told[["image", "mm_y", "mm_x"]].itertuples(index=False)
    }
