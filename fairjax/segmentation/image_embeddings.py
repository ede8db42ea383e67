"""Image embeddings on disk: an image is encoded once, and decoded any number of times, by any
number of decoders.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.cache import Cache, Embeddings
from fairjax.embeddings.extract import fill
from fairjax.embeddings.read import Load
from fairjax.models.preprocess import Preprocess
from fairjax.models.protocols import Embedding, Promptable
from fairjax.segmentation.segmenter import Segmenter
from fairjax.segmentation.transform import InputTransform
from fairjax.utils.storage import hash_json

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class EmbeddingSource:
    """What a model is given of each image: its embedding, read from a cache, or its pixels.

    Attributes:
      read: image → (…) float32.
      shape: shape of what is read.
      shapes: name → shape of every part of a flattened embedding, in order; {} if pixels are read.
    """

    read: Callable[[str], Float[np.ndarray, "*shape"]]
    shape: tuple[int, ...]
    shapes: Shapes = dataclasses.field(default_factory=dict)

    def decoder_of(self, module: Promptable) -> Promptable:
        """Gives the part of a model that is still needed: without its image encoder, if read."""
        return without_encoder(module) if self.shapes else module

    def embed(self, module: Promptable, x: Float[Array, "b ..."]) -> Embedding:
        """Gives what prompts are decoded on, of what was read of b images."""
        if not self.shapes:
            return module.embed(x)
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        parts = jnp.split(x, np.cumsum(sizes)[:-1], axis=1)
        return {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


@dataclasses.dataclass(frozen=True)
class _Shards:
    """Reads rows of memory-mapped shards: an image takes no memory until it is asked for.

    Attributes:
      paths: the shards, in the order of their rows.
      starts: the first row of each.
      rows: image → its row.
    """

    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    rows: dict[str, int]

    def __call__(self, image: str) -> Float[np.ndarray, " d"]:
        row = self.rows[image]
        shard = bisect.bisect_right(self.starts, row) - 1
        return np.array(
            np.load(self.paths[shard], mmap_mode="r", allow_pickle=False)[row - self.starts[shard]]
        )


@dataclasses.dataclass(frozen=True)
class _Pixels:
    """Reads and preprocesses an image."""

    read: Callable[[str], np.ndarray]
    preprocess: Preprocess

    def __call__(self, image: str) -> Float[np.ndarray, "h w 3"]:
        return self.preprocess(self.read(image))


class MappedCache(Cache):
    """A cache of embeddings that are too large to be held: loading it only checks its shards."""

    def load(self, keep: Callable[[np.ndarray], np.ndarray] | None = None) -> Embeddings:
        """Checks the shards, and keeps nothing of them.

        Raises:
          UserError: a shard is damaged.
        """
        self.check()
        return self.filled(np.empty((0, 0), np.float32))


def without_encoder(module: Any) -> Any:
    """Gives a promptable model that shares the arrays of `module`, but for its image encoder's."""
    module = nnx.merge(*nnx.split(module))
    setattr(module, module.IMAGE_TOWER, None)
    return module


def embed_images(
    dataset: Dataset,
    segmenter: Segmenter,
    root: Path,
    *,
    batch_size: int,
    shard_batches: int,
    **options: Any,
) -> tuple[EmbeddingSource, Bool[np.ndarray, " n"]]:
    """Embeds every image once, into memory-mapped shards.

    Args:
      dataset: n images.
      segmenter: the frozen model.
      root: folder of the caches.
      batch_size: images per batch.
      shard_batches: batches per shard of the cache.
      **options: as in `fairjax.embeddings.embed`.

    Returns:
      The source, and which images (n,) could be read.

    Raises:
      UserError: as in `fairjax.embeddings.embed`.
    """
    size = segmenter.transform.preprocess.size
    shapes = embedding_shapes(segmenter)
    cache = open_embeddings(
        dataset, segmenter, root, batch_size=batch_size, shard_batches=shard_batches
    )
    load = Load(
        tuple(dataset.table["image"]), dataset.read, segmenter.transform.preprocess, (size, size, 3)
    )
    batch_size = cache.shard_rows // shard_batches
    module: Any = segmenter.module
    filled = fill(cache, dataset, load, module, _flat, batch_size=batch_size, **options)
    starts = tuple(range(0, len(dataset), cache.shard_rows))
    rows = {image: row for row, image in enumerate(dataset.table["image"])}
    width = sum(int(np.prod(shape)) for shape in shapes.values())
    return EmbeddingSource(_Shards(cache.paths(), starts, rows), (width,), shapes), filled.valid


def open_embeddings(
    dataset: Dataset, segmenter: Segmenter, root: Path, *, batch_size: int, shard_batches: int
) -> MappedCache:
    """The cache of a dataset's image embeddings."""
    batch_size = -(-batch_size // jax.device_count()) * jax.device_count()
    key = segmenter.key | {
        "dataset": dataset.fingerprint,
        "images": hash_json(list(dataset.table["image"])),
    }
    return MappedCache(
        root,
        key | {"feature": "image embedding", "batch_size": batch_size},
        len(dataset),
        batch_size * shard_batches,
    )


def embedding_shapes(segmenter: Segmenter) -> Shapes:
    """Gives name → shape of every part of an image's embedding, in the order of `_flat`."""
    size = segmenter.transform.preprocess.size
    pixels = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    module: Any = segmenter.module
    parts = nnx.eval_shape(lambda module, x: module.embed(x), module, pixels)
    return {name: tuple(parts[name].shape[1:]) for name in sorted(parts)}


def _flat(module: Any, pixels: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
    parts = module.embed(pixels)
    return jnp.concatenate([parts[name].reshape(len(pixels), -1) for name in sorted(parts)], axis=1)


def pixels_of(dataset: Dataset, transform: InputTransform) -> EmbeddingSource:
    """Makes the source of preprocessed pixels, for a model whose encoder is tuned too."""
    size = transform.preprocess.size
    return EmbeddingSource(_Pixels(dataset.read, transform.preprocess), (size, size, 3))
