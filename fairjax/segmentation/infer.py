"""Prompted segmentation of a dataset: grain reads and prompts, the devices decode and measure,
shards go to a cache.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax

from fairjax.embeddings.cache import Cache, Embeddings
from fairjax.embeddings.extract import fill
from fairjax.segmentation.decode import SELECTIONS, measure_batch
from fairjax.segmentation.loader import loader
from fairjax.segmentation.segmenter import Measured
from fairjax.segmentation.task import PromptedTask
from fairjax.utils.storage import hash_json


def open_cache(task: PromptedTask, root: Path, *, batch_size: int, shard_batches: int) -> Cache:
    """Opens the cache of a task's measurements.

    Args:
      task: what is segmented.
      root: folder of the caches.
      batch_size: images per batch.
      shard_batches: batches per shard of the cache.
    """
    batch_size = -(-batch_size // jax.device_count()) * jax.device_count()
    objects = task.objects.table.astype(str).to_dict("list")
    key = task.segmenter.key | {
        "dataset": task.dataset.fingerprint,
        "objects": hash_json([dataclasses.asdict(task.rule), objects]),
        "prompts": dataclasses.asdict(task.plan),
        "scoring": dataclasses.asdict(task.scoring),
        "masks": dataclasses.asdict(task.segmenter.transform.masks),
        "batch_size": batch_size,
    }
    return Cache(root, key, len(task.dataset), batch_size * shard_batches)


def segment(
    task: PromptedTask,
    root: Path,
    *,
    batch_size: int = 4,
    shard_batches: int = 8,
    threads: int = 4,
    processes: int = 0,
    max_unreadable: float = 0.01,
    progress: bool = True,
) -> Measured:
    """Segments every object once with every prompt; what is in the cache is not computed again.

    Args:
      task: what is segmented.
      root: folder of the caches.
      batch_size: images per batch.
      shard_batches: batches per shard of the cache.
      threads: number of threads that read.
      processes: number of processes that read, 0 for none besides this.
      max_unreadable: fraction of images that may be unreadable.
      progress: whether to show a bar.

    Raises:
      UserError: as in `fairjax.embeddings.embed`.
    """
    cache = open_cache(task, root, batch_size=batch_size, shard_batches=shard_batches)
    masks, scoring = task.segmenter.transform.masks, task.scoring
    module: Any = task.module
    filled = fill(
        cache,
        task.dataset,
        loader(task),
        module,
        functools.partial(measure_batch, embed=task.embed, masks=masks, scoring=scoring),
        batch_size=cache.shard_rows // shard_batches,
        threads=threads,
        processes=processes,
        max_unreadable=max_unreadable,
        progress=progress,
        what="segmenting",
    )
    return _measured(filled, task)


def _measured(filled: Embeddings, task: PromptedTask) -> Measured:
    objects, n_prompts = task.objects, len(task.plan.instances)
    n_selections, n_metrics = len(SELECTIONS), len(task.scoring.metrics)
    rows = filled.features.reshape(
        len(filled.features), objects.max_per_image, n_prompts, n_selections * n_metrics + 1
    )
    table = objects.table[filled.valid[objects.table["row"]]].reset_index(drop=True)
    index = table.groupby("row").cumcount().to_numpy()
    of_object = rows[table["row"].to_numpy(), index]
    values = of_object[..., :-1].reshape(len(table), n_prompts, n_selections, n_metrics)
    return Measured(table, values, of_object[..., -1], filled.valid, filled.quarantined)
