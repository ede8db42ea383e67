"""What a mask decoder is tuned on: every object's low-resolution mask, and its prompts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int, UInt8

from fairjax.datasets.dataset import Dataset
from fairjax.segmentation.frame import Frame
from fairjax.segmentation.loader import as_tokens, longest, nearest
from fairjax.segmentation.objects import Rule
from fairjax.segmentation.prompts import Plan
from fairjax.segmentation.segmenter import Segmenter
from fairjax.utils import progress


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n objects of one side of the split.

    Attributes:
      images: (n,) the image that each is in.
      coords, labels: (n, k, t, 2) and (n, k, t), the tokens of its k prompts, in the model's frame.
      kinds: (k,) the place of each prompt's kind among the plan's.
      truth: (n, bytes) its mask at low × low pixels, packed.
      extent: (n, 2) height and width of the part of it that the image fills.
      groups: (n,) codes of the groups that are compared, −1 where not known.
      low: side of the masks.
    """

    images: Sequence[str]
    coords: Float[np.ndarray, "n k t 2"]
    labels: Int[np.ndarray, "n k t"]
    kinds: Int[np.ndarray, " k"]
    truth: UInt8[np.ndarray, "n bytes"]
    extent: Int[np.ndarray, "n 2"]
    groups: Int[np.ndarray, " n"]
    low: int

    def __len__(self) -> int:
        return len(self.images)

    def masks(self, rows: Int[np.ndarray, "*s"]) -> tuple[np.ndarray, np.ndarray]:
        """Of these rows the true masks (…, low, low), and which pixels the image fills."""
        truth = np.unpackbits(self.truth[rows], axis=-1).reshape(*rows.shape, -1)
        truth = truth[..., : self.low**2].reshape(*rows.shape, self.low, self.low).astype(bool)
        height, width = np.moveaxis(self.extent[rows], -1, 0)[..., None, None]
        line = np.arange(self.low)
        return truth, (line[:, None] < height) & (line < width)


def make_examples(
    dataset: Dataset,
    segmenter: Segmenter,
    rule: Rule,
    plan: Plan,
    groups: Int[np.ndarray, " n"],
    *,
    threads: int = 4,
    show_progress: bool = True,
) -> Examples:
    """Reads the true masks of every image once, and draws the prompts of their objects.

    Args:
      dataset: the images of one side.
      segmenter: the model that is prompted.
      rule: what counts as an object.
      plan: the prompts.
      groups: (n,) codes of each image.
      threads: that read.
      show_progress: whether to show a bar.
    """
    frame, low = segmenter.frame, segmenter.low
    length = longest(plan, frame.decoder)
    images = list(dataset.table["image"])
    read = functools.partial(_of_image, dataset, rule, plan, frame, low, length)
    parts: list[tuple] = []
    with (
        progress.bar("prompting", "image", len(images), show=show_progress) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        for row, of_image in enumerate(pool.map(read, images)):
            parts += [(row, *one) for one in of_image]
            bar.update()
    rows, coords, labels, truth, extent = zip(*parts)
    kinds = np.array([plan.kinds.index(kind) for kind, _ in plan.instances])
    names = [images[row] for row in rows]
    arrays = np.stack(coords), np.stack(labels), kinds, np.stack(truth), np.array(extent)
    return Examples(names, *arrays, groups[list(rows)], low)


def _of_image(
    dataset: Dataset, rule: Rule, plan: Plan, frame: Frame, low: int, length: int, image: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]]:
    """Tokens, packed mask and extent of every object of one image."""
    codes = dataset.read_mask(image)
    extent = low_extent(frame, low, *codes.shape)
    found = []
    for code, component, mask in rule.find(codes, len(dataset.mask_classes)):
        drawn = plan.draw(mask, image, f"{code}#{component}")
        tokens = [as_tokens(one, frame, length, *codes.shape) for one in drawn]
        canvas = np.zeros((low, low), bool)
        canvas[: extent[0], : extent[1]] = nearest(mask, *extent)
        coords, labels = (np.stack(part) for part in zip(*tokens))
        found.append((coords, labels, np.packbits(canvas), extent))
    return found


def low_extent(frame: Frame, low: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of the part of a low-resolution mask that an image fills."""
    sides = frame.preprocess.resized_shape(height, width)
    h, w = (max(1, round(side * low / frame.preprocess.size)) for side in sides)
    return h, w
