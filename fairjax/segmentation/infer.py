"""Prompted segmentation of a dataset: grain reads and prompts, the devices decode and measure, shards go to a cache."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grain
import jax
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Bool, Float
from PIL import Image

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.cache import Cache, Embeddings
from fairjax.embeddings.extract import fill
from fairjax.embeddings.read import PADDING, Example
from fairjax.io import hash_json
from fairjax.models.architectures import MaskDecoderConfig
from fairjax.models.sam.tokens import ABSENT, Points, padded, tokens
from fairjax.segmentation.decode import SELECTIONS, measure_batch
from fairjax.segmentation.frame import Frame
from fairjax.segmentation.objects import Objects, Rule
from fairjax.segmentation.prompts import KINDS, Plan

if TYPE_CHECKING:
    from fairjax.segmentation.embedded import Source

BUCKET = 64  # pixels: frames of masks are multiples of it


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How masks are compared with the truth.

    Attributes:
      measures: names from `fairjax.metrics.overlap.MEASURES`.
      tolerance: of `nsd`, in the unit of `spacing`.
      spacing: edge of an original pixel, in mm, of images that do not tell theirs; 1 for distances in pixels.
      size: longer side, in pixels, that larger images are compared at; 0 for their own size.
      in_frame: whether prompts are taken from, and masks compared with, the truth squashed to the model's input.
      skip_first_column: whether the column x = 0 is left out.
      empty: the overlap of two empty masks.
    """

    measures: tuple[str, ...] = ("dice", "iou", "nsd", "hd95")
    tolerance: float = 2.0
    spacing: float = 1.0
    size: int = 0
    in_frame: bool = False
    skip_first_column: bool = False
    empty: float = 1.0


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A frozen model that is prompted.

    Attributes:
      module: a `fairjax.models.sam.model.SAM`.
      frame: its preprocessing, and the way back.
      key: what identifies its masks besides images and prompts.
    """

    module: nnx.Module
    frame: Frame
    key: dict[str, Any]

    @functools.cached_property
    def low(self) -> int:
        """Side of the masks that are decoded, in pixels."""
        module: Any = self.module
        return 4 * (self.frame.preprocess.size // module.stride)


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
        except Exception as error:  # whatever a decoder throws at a broken file, the other images go on
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
        arrays["pixels"][...] = self.source.read(image) if self.source else self._pixels(image, codes.shape)
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
                arrays["coords"][at], arrays["labels"][at] = as_tokens(drawn, self.frame, self.n_tokens, height, width)
        if self.scoring.skip_first_column:
            arrays["truth"][:, :, 0], arrays["columns"][0] = False, 0.0

    def _pixels(self, image: str, shape: tuple[int, ...]) -> np.ndarray:
        pixels = self.read(image)
        if pixels.shape[:2] != shape:
            raise ValueError(f"the image is {pixels.shape[:2]}, its mask {shape}")
        return self.frame.preprocess(pixels)


def as_tokens(drawn: np.ndarray, frame: Frame, length: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
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


@dataclasses.dataclass(frozen=True)
class Measured:
    """How well the masks agree with the truth.

    Attributes:
      table: one row per object that was measured, as `Objects.table`.
      values: (objects, prompts, 2 selections, measures); see `SELECTIONS`.
      predicted_iou: (objects, prompts).
      valid: (images,) which could be read.
      quarantined: the others.
    """

    table: pd.DataFrame
    values: Float[np.ndarray, "k p 2 m"]
    predicted_iou: Float[np.ndarray, "k p"]
    valid: Bool[np.ndarray, " n"]
    quarantined: list[dict[str, Any]]


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
    return {image: (float(y), float(x)) for image, y, x in told[["image", "mm_y", "mm_x"]].itertuples(index=False)}


def open_cache(
    dataset: Dataset,
    segmenter: Segmenter,
    objects: Objects,
    rule: Rule,
    plan: Plan,
    scoring: Scoring,
    root: Path,
    *,
    batch_size: int,
    shard_batches: int,
) -> Cache:
    """The cache of a dataset's measures; `dataset` holds the images that have objects."""
    batch_size = -(-batch_size // jax.device_count()) * jax.device_count()
    key = segmenter.key | {
        "dataset": dataset.fingerprint,
        "objects": hash_json([dataclasses.asdict(rule), objects.table.astype(str).to_dict("list")]),
        "prompts": dataclasses.asdict(plan),
        "scoring": dataclasses.asdict(scoring),
        "cut": segmenter.frame.cut,
        "batch_size": batch_size,
    }
    return Cache(root, key, len(dataset), batch_size * shard_batches)


def segment(
    dataset: Dataset,
    segmenter: Segmenter,
    objects: Objects,
    rule: Rule,
    plan: Plan,
    scoring: Scoring,
    root: Path,
    *,
    source: Source | None = None,
    batch_size: int = 4,
    shard_batches: int = 8,
    threads: int = 4,
    processes: int = 0,
    max_unreadable: float = 0.01,
    show_progress: bool = True,
) -> Measured:
    """Segments every object once with every prompt; what is in the cache is not computed again.

    Args:
      dataset: n images, each with at least one object: `objects.table["row"]` counts them.
      segmenter: the frozen model.
      objects, rule: what is segmented, from `scan`.
      plan: the prompts.
      scoring: how masks are compared with the truth.
      root: folder of the caches.
      source: cached embeddings of the images, that need no encoder any more; None to embed them.
      batch_size, shard_batches, threads, processes, max_unreadable, show_progress: as in `fairjax.embeddings.embed`.

    Raises:
      UserError: as in `fairjax.embeddings.embed`.
    """
    options = {"batch_size": batch_size, "shard_batches": shard_batches}
    cache = open_cache(dataset, segmenter, objects, rule, plan, scoring, root, **options)
    compute = functools.partial(
        measure_batch,
        space=segmenter.frame.space,
        threshold=segmenter.frame.threshold,
        tolerance=scoring.tolerance,
        empty=scoring.empty,
        measures=scoring.measures,
    )
    filled = fill(
        cache,
        dataset,
        loader(dataset, segmenter, objects, rule, plan, scoring, source),
        source.wrap(segmenter.module) if source else segmenter.module,
        compute,
        batch_size=cache.shard_rows // shard_batches,
        threads=threads,
        processes=processes,
        max_unreadable=max_unreadable,
        show_progress=show_progress,
        what="segmenting",
    )
    return _measured(filled, objects, plan, scoring)


def _measured(filled: Embeddings, objects: Objects, plan: Plan, scoring: Scoring) -> Measured:
    n_prompts, n_measures = len(plan.instances), len(scoring.measures)
    rows = filled.features.reshape(len(filled.features), objects.most, n_prompts, len(SELECTIONS) * n_measures + 1)
    table = objects.table[filled.valid[objects.table["row"]]].reset_index(drop=True)
    place = table.groupby("row").cumcount().to_numpy()
    of_object = rows[table["row"].to_numpy(), place]
    values = of_object[..., :-1].reshape(len(table), n_prompts, len(SELECTIONS), n_measures)
    return Measured(table, values, of_object[..., -1], filled.valid, filled.quarantined)
