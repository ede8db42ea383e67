"""Extraction: grain reads images, the devices encode batches of one shape, the cache keeps them."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8
from tqdm import tqdm

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.cache import Cache, Embeddings
from fairjax.embeddings.read import PADDING, Batch, Load, batches
from fairjax.models.protocols import ImageEncoder
from fairjax.utils import distributed
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.progress import bar

IN_FLIGHT = 2  # batches on the devices before the oldest is fetched
FEATURES = {"probe": "probe_features", "image": "encode_image"}  # name → method of the module


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A frozen tower with its own preprocessing.

    Attributes:
      module: an NNX module; its `encode_image` gives what is compared with texts.
      preprocess: uint8 RGB (H, W, 3) → float32 (h, w, 3); picklable, free of jax.
      image_shape: (h, w, 3), what `preprocess` gives.
      key: what identifies the features besides the images and `feature`: weights hash,
        preprocessing, dtype.
      feature: which of the module's outputs is taken, a key of `FEATURES`.
    """

    module: ImageEncoder
    preprocess: Callable[[UInt8[np.ndarray, "H W 3"]], Float[np.ndarray, "h w 3"]]
    image_shape: tuple[int, int, int]
    key: dict[str, Any]
    feature: str = "probe"

    def of(self, feature: str) -> Encoder:
        """The encoder with another of the module's outputs."""
        lookup("feature of an encoder", feature, FEATURES)
        return dataclasses.replace(self, feature=feature)

    @property
    def cache_key(self) -> dict[str, Any]:
        """What identifies the features besides the images; equal features have equal keys."""
        projected = getattr(getattr(self.module, "config", None), "probe", "") == "projected"
        return (
            self.key
            if self.feature == "probe" or projected
            else self.key | {"feature": self.feature}
        )


def open_cache(
    dataset: Dataset, encoder: Encoder, root: Path, *, batch_size: int, shard_batches: int
) -> Cache:
    """Opens the cache of a dataset's embeddings.

    Args:
      dataset: n images.
      encoder: the frozen tower.
      root: directory of the caches.
      batch_size: images at once, rounded up to a multiple of the number of devices.
      shard_batches: batches of each shard.
    """
    batch_size = -(-batch_size // jax.local_device_count()) * jax.local_device_count()
    key = encoder.cache_key | {"dataset": dataset.fingerprint, "batch_size": batch_size}
    return Cache(root, key, len(dataset), batch_size * shard_batches)


def embed(
    dataset: Dataset,
    encoder: Encoder,
    root: Path,
    *,
    batch_size: int = 32,
    shard_batches: int = 8,
    threads: int = 4,
    processes: int = 0,
    max_unreadable: float = 0.01,
    shard: tuple[int, int] = (0, 1),
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embeds every image once; what is in the cache is not touched again.

    Args:
      dataset: n images.
      encoder: the frozen tower.
      root: directory of the caches.
      batch_size: images per batch, over all devices (rounded up to a multiple of their number).
      shard_batches: batches per shard: what a kill can lose.
      threads: reader threads; with `processes` > 0, threads per reader process.
      processes: reader processes (0: threads of this process alone).
      max_unreadable: fraction of images that may be unreadable.
      shard: (index, count) of the process: it embeds the cache's shards index, index + count, … and
        waits for the others.
      keep: what is kept in memory of each shard's features, (b, …) → (b, …), such as zero-shot
        logits of BLIP-2's 32 vectors per image; all by default.
      progress: whether to show a bar with images/s and the time left.

    Returns:
      `Embeddings` in the order of the dataset's rows.

    Raises:
      UserError: more images than `max_unreadable` cannot be read (what was computed is kept),
        another process is at it, or the cache is damaged.
    """
    cache = open_cache(dataset, encoder, root, batch_size=batch_size, shard_batches=shard_batches)
    load = Load(
        tuple(dataset.table["image"]), dataset.read, encoder.preprocess, encoder.image_shape
    )
    return fill(
        cache,
        dataset,
        load,
        encoder.module,
        lambda module, pixels: getattr(module, FEATURES[encoder.feature])(pixels),
        batch_size=cache.shard_rows // shard_batches,
        threads=threads,
        processes=processes,
        max_unreadable=max_unreadable,
        shard=shard,
        progress=progress,
        keep=keep,
    )


def fill(
    cache: Cache,
    dataset: Dataset,
    load: grain.transforms.Map,
    module: Any,
    compute: Callable[[Any, Any], Float[Array, "b *q d"]],
    *,
    batch_size: int,
    threads: int,
    processes: int,
    max_unreadable: float,
    progress: bool,
    shard: tuple[int, int] = (0, 1),
    what: str = "embedding",
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Embeddings:
    """Computes what a cache lacks, shard by shard, so that a killed run loses one shard at most.

    Args:
      cache: has a row of numbers per image of `dataset`.
      dataset: n images.
      load: row → what `compute` takes of one image; see `fairjax.embeddings.read`.
      module: the model.
      compute: (module, a batch) → (b, d) or (b, q, d), compiled, and sharded over the devices.
      batch_size: a multiple of the number of devices that divides the cache's shards.
      threads: as in `embed`.
      processes: as in `embed`.
      max_unreadable: as in `embed`.
      shard: as in `embed`.
      progress: as in `embed`.
      what: names the work on the bar.
      keep: what is kept of each shard in memory; see `Cache.load`.
    """
    index, count = shard
    cache.process = index
    if not cache.missing():
        distributed.barrier("nothing to embed")
        _check_unreadable(dataset, cache.quarantined(), max_unreadable)
        return cache.load(keep)
    with cache.lock():
        cache.refresh()  # it may have grown before the lock was ours
        spans = cache.missing()[index::count]
        # no one adds a shard before everyone has seen what is missing
        distributed.barrier("to embed")
        rows = np.concatenate([_padded(span, batch_size) for span in spans] or [np.zeros(0, int)])
        computed = _compute(
            module, compute, batches(load, rows, batch_size, threads=threads, processes=processes)
        )
        done = len(dataset) - sum(map(len, spans))
        with bar(what, "image", len(dataset), done=done, show=progress) as watched:
            for span in spans:
                features, quarantined = _shard(
                    dataset, itertools.islice(computed, -(-len(span) // batch_size)), watched
                )
                cache.add(span, features, quarantined)
                _check_unreadable(dataset, cache.quarantined(), max_unreadable)
    distributed.barrier("embedded")
    cache.refresh()
    return cache.load(keep)


def _padded(span: range, batch_size: int) -> np.ndarray:
    return np.pad(
        np.arange(span.start, span.stop), (0, -len(span) % batch_size), constant_values=PADDING
    )


def _shard(
    dataset: Dataset, encoded: Iterator[Batch], watched: tqdm
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Collects one shard's features (rows, d) and its unreadable images."""
    images = dataset.table["image"]
    parts, quarantined = [], []
    for rows, features, reasons in encoded:
        real = rows != PADDING
        parts.append(features[real])
        quarantined += [
            {"row": int(row), "image": images.iloc[row], "reason": why}
            for row, why in zip(rows, reasons)
            if why
        ]
        watched.update(int(real.sum()))
    return np.concatenate(parts), quarantined


def _compute(
    module: Any,
    compute: Callable[[Any, Any], Float[Array, "b *q d"]],
    stream: Iterator[Batch],
) -> Iterator[Batch]:
    """Runs batches through the model, sharded over `data`, while the host reads the next ones."""
    mesh = Mesh(np.asarray(jax.local_devices()), ("data",))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    graph, state = nnx.split(module)
    state = jax.device_put(state, whole)

    @functools.partial(jax.jit, in_shardings=(whole, split), out_shardings=split)
    def run(state: nnx.State, batch: Any) -> Float[Array, "b *q d"]:
        return compute(nnx.merge(graph, state), batch).astype(jnp.float32)

    pending: collections.deque = collections.deque()
    for rows, batch, reasons in stream:
        pending.append((rows, run(state, jax.device_put(batch, split)), reasons))
        if len(pending) > IN_FLIGHT:
            yield _fetch(*pending.popleft())
    while pending:
        yield _fetch(*pending.popleft())


def _fetch(rows: np.ndarray, features: Array, reasons: list[str]) -> Batch:
    fetched = np.array(features)
    fetched[[bool(reason) for reason in reasons]] = 0.0
    return rows, fetched, reasons


def _check_unreadable(
    dataset: Dataset, quarantined: list[dict[str, Any]], max_unreadable: float
) -> None:
    if len(quarantined) > max_unreadable * len(dataset):
        first = quarantined[0]
        raise UserError(
            f"{len(quarantined)} of {len(dataset)} images of {dataset.name} cannot be read, more "
            f"than the allowed fraction {max_unreadable:g}; the first is {first['image']} "
            f"({first['reason']}); mend the images or raise --config.embedding.max_unreadable"
        )
