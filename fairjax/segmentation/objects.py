"""What is to be segmented: the objects in the true masks, counted before any image is embedded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from jaxtyping import Bool, Integer
from scipy import ndimage

from fairjax.datasets.dataset import Dataset
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.progress import bar

MODES = {
    "class": "all pixels of a class are one object",
    "component": "every connected component of a class is an object",
    "largest": "the largest connected component of a class is the object",
    "left": "the leftmost of a class's large connected components is the object",
    "right": "the rightmost of a class's large connected components is the object",
}
LARGE = 0.25  # of the largest component: what counts as large
TOUCHING = np.ones((3, 3), int)  # components are connected by edges and corners
COLUMNS = [
    "row",
    "image",
    "target",
    "class",
    "component",
    "pixels",
    "height",
    "width",
    "mm_y",
    "mm_x",
]


@dataclasses.dataclass(frozen=True)
class ObjectRule:
    """What counts as an object.

    Attributes:
      mode: a key of `MODES`.
      min_pixels: smaller objects are left out.
      max_objects: objects per image and class, the largest ones.
    """

    mode: str = "class"
    min_pixels: int = 1
    max_objects: int = 8

    def __post_init__(self):
        lookup("objects", self.mode, MODES)

    def find(
        self, codes: Integer[np.ndarray, "h w"], n_classes: int
    ) -> Iterator[tuple[int, int, Bool[np.ndarray, "h w"]]]:
        """(class, component, mask) of every object; components by falling size, and 0 where a class
        is one object.
        """
        for code in range(1, n_classes + 1):
            mask = codes == code
            parts = [mask] if self.mode == "class" else self._components(mask)
            for component, part in enumerate(parts):
                if part.sum() >= self.min_pixels and part.any():
                    yield code, component, part

    def _components(self, mask: Bool[np.ndarray, "h w"]) -> list[Bool[np.ndarray, "h w"]]:
        labels, n = ndimage.label(mask, TOUCHING)
        sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        order = np.argsort(-sizes, kind="stable")
        if self.mode in ("left", "right"):
            large = order[sizes[order] >= LARGE * sizes.max(initial=0)]
            middle = {label: np.nonzero(labels == label + 1)[1].mean() for label in large}
            order = np.array(
                sorted(large, key=middle.__getitem__, reverse=self.mode == "right"), int
            )
        count = self.max_objects if self.mode == "component" else 1
        return [labels == label + 1 for label in order[:count]]


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of a dataset.

    Attributes:
      table: one row per object: `row` (of the image in the dataset), `image`, `target` (its name in
        the image), `class`, `component`, `pixels`, and the image's `height` and `width` in pixels,
        and the edges of its pixels in mm along them, `mm_y` and `mm_x`, NaN if unknown.
      without_mask: images that have no true mask.
      empty: pairs of image and class in which there is nothing to segment.
      unreadable: [{"row", "image", "reason"}] of masks that cannot be read.
    """

    table: pd.DataFrame
    without_mask: int
    empty: int
    unreadable: list[dict]

    @property
    def max_per_image(self) -> int:
        """Objects of the image that has most of them."""
        return int(self.table.groupby("row").size().max())

    def take(self, keep: Bool[np.ndarray, " n"]) -> Objects:
        """Gives the objects in some of the images, numbered by their rows among those."""
        table = self.table[keep[self.table["row"]]].reset_index(drop=True)
        rows = np.cumsum(keep) - 1
        return dataclasses.replace(self, table=table.assign(row=rows[table["row"]]))

    def spacings(self) -> dict[str, tuple[float, float]]:
        """Image → edges of its pixels (y, x) in mm, if they are known."""
        known = self.table.drop_duplicates("image").dropna(subset=["mm_y", "mm_x"])
        columns = known[["image", "mm_y", "mm_x"]].itertuples(index=False)
        return {image: (float(y), float(x)) for image, y, x in columns}


def scan(dataset: Dataset, rule: ObjectRule, *, threads: int = 4, progress: bool = True) -> Objects:
    """Reads every true mask once.

    Args:
      dataset: images, some of which have masks.
      rule: what counts as an object.
      threads: number of threads that read.
      progress: whether to show a bar.

    Raises:
      UserError: the dataset has no masks, or nothing in them.
    """
    classes = dataset.mask_classes
    rows = np.flatnonzero(dataset.has_mask).tolist()
    images = dataset.table["image"].to_numpy()

    def one(row: int) -> list[tuple] | str:
        try:
            codes = dataset.read_mask(images[row])
            if codes.ndim != 2:
                return f"ValueError: a mask of shape {codes.shape} is not one of an image"
            spacing = dataset.pixel_spacing(images[row]) or (np.nan, np.nan)
        except Exception as error:  # whatever a decoder throws at a broken file
            return f"{type(error).__name__}: {error}"
        return [
            (
                row,
                images[row],
                f"{classes[code - 1]}#{component}",
                classes[code - 1],
                component,
                int(mask.sum()),
                *mask.shape,
                *spacing,
            )
            for code, component, mask in rule.find(codes, len(classes))
        ]

    found: list[tuple] = []
    unreadable, empty = [], 0
    with (
        bar("reading masks", "mask", len(rows), show=progress) as shown,
        ThreadPoolExecutor(threads) as pool,
    ):
        for row, result in zip(rows, pool.map(one, rows)):
            shown.update()
            if isinstance(result, str):
                unreadable.append({"row": row, "image": images[row], "reason": result})
                continue
            found += result
            empty += len(classes) - len({entry[COLUMNS.index("class")] for entry in result})
    if not found:
        raise UserError(
            f"{dataset.name}: there is nothing to segment in {len(rows)} masks of "
            f"{len(dataset)} images"
        )
    return Objects(
        pd.DataFrame(found, columns=COLUMNS), len(dataset) - len(rows), empty, unreadable
    )
