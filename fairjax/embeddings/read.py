"""Reading for extraction: grain decodes and preprocesses ahead of the devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags
from jaxtyping import Int

from fairjax.datasets.readers.images import ImageFiles
from fairjax.models.preprocess import Preprocess

Arrays = dict[str, np.ndarray]
# Row, what was read (pixels (h, w, 3), or several arrays by name), why it could not be read ('' if
# it could).
Example = tuple[int, "np.ndarray | Arrays", str]
# Rows (b,), what was read (b, …) or features (b, d), reasons.
Batch = tuple[np.ndarray, Any, list[str]]

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Load(grain.transforms.Map):
    """Row → preprocessed pixels, or zeros and the reason why there are none."""

    images: tuple[str, ...]
    read: Callable[[str], np.ndarray]
    preprocess: Callable[[np.ndarray], np.ndarray]
    image_shape: tuple[int, int, int]

    def map(self, row: int) -> Example:
        """Reads one row."""
        nothing = np.zeros(self.image_shape, np.float32)
        if row == PADDING:
            return row, nothing, ""
        try:
            return row, self.preprocess(self._read(self.images[row])), ""
        except Exception as error:  # whatever a decoder raises, the other images continue
            return row, nothing, f"{type(error).__name__}: {error}"

    def _read(self, image: str) -> Any:
        """The image in the form that takes the fewest copies on its way to the preprocessing."""
        if isinstance(self.preprocess, Preprocess) and isinstance(self.read, ImageFiles):
            return self.read.picture(image)
        return self.read(image)


def _collate(examples: Sequence[Example]) -> Batch:
    rows, read, reasons = zip(*examples)
    if isinstance(read[0], dict):
        stacked: Any = {name: np.stack([arrays[name] for arrays in read]) for name in read[0]}
    else:
        stacked = np.stack(read)
    return np.array(rows), stacked, list(reasons)


def batches(
    load: grain.transforms.Map,
    rows: Int[np.ndarray, " n"],
    batch_size: int,
    *,
    threads: int,
    processes: int,
) -> Iterator[Batch]:
    """Reads `rows` in order, `batch_size` at a time, a few batches ahead of the consumer.

    Args:
      load: row → `Example`.
      rows: rows to read; `PADDING` reads nothing.
      batch_size: rows per batch; it divides their number.
      threads: reader threads, per process.
      processes: reader processes; 0 reads in threads of this one.
    """
    if processes and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads its flags, also where no one has parsed any
    read_ahead = grain.ReadOptions(
        num_threads=max(threads, 1), prefetch_buffer_size=max(threads, 1) + 1
    )
    pipeline = grain.MapDataset.source(rows).map(load).batch(batch_size, batch_fn=_collate)
    iterator = pipeline.to_iter_dataset(read_ahead)
    if processes:
        iterator = iterator.mp_prefetch(grain.MultiprocessingOptions(num_workers=processes))
    yield from iterator
