"""Prompted segmentation of a dataset: grain reads and prompts, the devices decode and measure,
shards go to a cache.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax

from fairjax.datasets.dataset import Dataset
from fairjax.embeddings.cache import Cache, Embeddings
from fairjax.embeddings.extract import fill
from fairjax.segmentation.decode import SELECTIONS, measure_batch
from fairjax.segmentation.image_embeddings import Source
from fairjax.segmentation.loader import loader
from fairjax.segmentation.objects import Objects, Rule
from fairjax.segmentation.prompts import Plan
from fairjax.segmentation.segmenter import Measured, Scoring, Segmenter
from fairjax.utils.storage import hash_json


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
      batch_size, shard_batches, threads, processes, max_unreadable, show_progress: as in
        `fairjax.embeddings.embed`.

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
        progress=show_progress,
        what="segmenting",
    )
    return _measured(filled, objects, plan, scoring)


def _measured(filled: Embeddings, objects: Objects, plan: Plan, scoring: Scoring) -> Measured:
    n_prompts, n_measures = len(plan.instances), len(scoring.measures)
    rows = filled.features.reshape(
        len(filled.features), objects.most, n_prompts, len(SELECTIONS) * n_measures + 1
    )
    table = objects.table[filled.valid[objects.table["row"]]].reset_index(drop=True)
    place = table.groupby("row").cumcount().to_numpy()
    of_object = rows[table["row"].to_numpy(), place]
    values = of_object[..., :-1].reshape(len(table), n_prompts, len(SELECTIONS), n_measures)
    return Measured(table, values, of_object[..., -1], filled.valid, filled.quarantined)
