"""What a mask decoder is tuned on: every object's low-resolution mask, and its prompts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int, UInt8

from fairjax.segmentation.loader import nearest
from fairjax.segmentation.task import PromptedTask
from fairjax.utils.progress import bar


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n objects of one split.

    Attributes:
      images: (n,) the image that each is in.
      coords, labels: (n, k, t, 2) and (n, k, t), the tokens of its k prompts, in pixels of the
        model's input.
      kinds: (k,) the index of each prompt's kind among the plan's.
      truth: (n, bytes) its mask at mask_size × mask_size pixels, packed.
      extent: (n, 2) height and width of the part of it that the image fills.
      groups: (n,) codes of the groups that are compared, −1 if unknown.
      mask_size: side of the masks.
    """

    images: Sequence[str]
    coords: Float[np.ndarray, "n k t 2"]
    labels: Int[np.ndarray, "n k t"]
    kinds: Int[np.ndarray, " k"]
    truth: UInt8[np.ndarray, "n bytes"]
    extent: Int[np.ndarray, "n 2"]
    groups: Int[np.ndarray, " n"]
    mask_size: int

    def __len__(self) -> int:
        return len(self.images)

    def masks(self, rows: Int[np.ndarray, "*s"]) -> tuple[np.ndarray, np.ndarray]:
        """Of these rows the true masks (…, h, w), and which pixels the image fills."""
        truth = np.unpackbits(self.truth[rows], axis=-1).reshape(*rows.shape, -1)
        truth = (
            truth[..., : self.mask_size**2]
            .reshape(*rows.shape, self.mask_size, self.mask_size)
            .astype(bool)
        )
        height, width = np.moveaxis(self.extent[rows], -1, 0)[..., None, None]
        line = np.arange(self.mask_size)
        return truth, (line[:, None] < height) & (line < width)


def make_examples(
    task: PromptedTask, groups: Int[np.ndarray, " n"], *, threads: int = 4, progress: bool = True
) -> Examples:
    """Reads the true masks of every image once, and draws the prompts of their objects.

    Args:
      task: images of one split, with the prompts of their objects.
      groups: (n,) codes of each image.
      threads: number of threads that read.
      progress: whether to show a bar.
    """
    images, plan = list(task.dataset.table["image"]), task.plan
    read = functools.partial(_of_image, task, task.n_tokens)
    parts: list[tuple] = []
    with (
        bar("prompting", "image", len(images), show=progress) as shown,
        ThreadPoolExecutor(threads) as pool,
    ):
        for row, of_image in enumerate(pool.map(read, images)):
            parts += [(row, *one) for one in of_image]
            shown.update()
    rows, coords, labels, truth, extent = zip(*parts)
    kinds = np.array([plan.kinds.index(kind) for kind, _ in plan.instances])
    names = [images[row] for row in rows]
    arrays = np.stack(coords), np.stack(labels), kinds, np.stack(truth), np.array(extent)
    return Examples(names, *arrays, groups[list(rows)], task.segmenter.transform.mask_size)


def _of_image(
    task: PromptedTask, n_tokens: int, image: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]]:
    """Tokens, packed mask and extent of every object of one image."""
    transform, codes = task.segmenter.transform, task.dataset.read_mask(image)
    extent, found = transform.mask_extent(*codes.shape), []
    for code, component, mask in task.rule.find(codes, len(task.dataset.mask_classes)):
        drawn = task.plan.draw(mask, image, f"{code}#{component}")
        tokens = [transform.tokens(one, n_tokens, *codes.shape) for one in drawn]
        canvas = np.zeros((transform.mask_size, transform.mask_size), bool)
        canvas[: extent[0], : extent[1]] = nearest(mask, *extent)
        coords, labels = (np.stack(part) for part in zip(*tokens))
        found.append((coords, labels, np.packbits(canvas), extent))
    return found
