"""The images that a tower is trained on: read ahead of the devices, and kept on the host where they
all fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings import Encoder
from fairjax.embeddings.read import PADDING, Load, batches
from fairjax.training.optimizer import FLOAT_BYTES
from fairjax.utils.errors import UserError

THREADS = 4


class Images:
    """Preprocessed images of a dataset, in batches of one size.

    Args:
      dataset: n images.
      encoder: whose preprocessing they get.
      batch_size: images per batch.
      memory_bytes: what they may take on the host, to be read once and not once an epoch.
      threads, processes: as in `fairjax.embeddings.embed`.
    """

    def __init__(
        self,
        dataset: Dataset,
        encoder: Encoder,
        batch_size: int,
        *,
        memory_bytes: float = 0,
        threads: int = THREADS,
        processes: int = 0,
    ):
        self.dataset, self.batch_size = dataset, batch_size
        self._readers = {"threads": threads, "processes": processes}
        self._load = Load(
            tuple(dataset.table["image"]), dataset.read, encoder.preprocess, encoder.image_shape
        )
        fit = len(dataset) * np.prod(encoder.image_shape) * FLOAT_BYTES <= memory_bytes
        self._held = np.zeros((len(dataset), *encoder.image_shape), np.float32) if fit else None
        self._seen = np.zeros(len(dataset), bool)

    def __call__(self, rows: Int[np.ndarray, " n"]) -> Iterator[Float[np.ndarray, "b h w 3"]]:
        """Images of `rows` in order, a batch at a time; their number is a multiple of the batches'
        size.

        Args:
          rows: rows of the dataset; `PADDING` gives zeros.

        Raises:
          UserError: an image cannot be read.
        """
        real = rows[rows != PADDING]
        if self._held is None:
            yield from (pixels for _, pixels in self._read(rows))
            return
        new = np.unique(real[~self._seen[real]])
        for read, pixels in self._read(padded(new, self.batch_size)):
            self._held[read[read != PADDING]] = pixels[read != PADDING]
        self._seen[new] = True
        for part in rows.reshape(-1, self.batch_size):
            yield np.where((part == PADDING)[:, None, None, None], np.float32(0), self._held[part])

    def _read(self, rows: Int[np.ndarray, " n"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for read, pixels, reasons in batches(self._load, rows, self.batch_size, **self._readers):
            self._check(read, reasons)
            yield read, pixels

    def _check(self, rows: np.ndarray, reasons: Sequence[str]) -> None:
        for row, why in zip(rows, reasons):
            if why:
                image = self.dataset.table["image"].iloc[row]
                raise UserError(
                    f"{image} of {self.dataset.name} cannot be read any more ({why}); mend it and "
                    "run again"
                )


def padded(rows: Int[np.ndarray, " n"], batch_size: int) -> Int[np.ndarray, " m"]:
    """Rows, and `PADDING` up to whole batches."""
    return np.pad(rows, (0, -len(rows) % batch_size), constant_values=PADDING)
