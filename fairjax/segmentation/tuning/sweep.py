"""The sweep of mask decoders: runs in chunks, which are kept as those of heads are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fairjax import __version__
from fairjax.models import lora
from fairjax.segmentation.image_embeddings import EmbeddingSource
from fairjax.segmentation.segmenter import Segmenter
from fairjax.segmentation.tuning.engine import MAX_PER_DEVICE, Engine
from fairjax.segmentation.tuning.examples import Examples
from fairjax.segmentation.tuning.program import Params, Programs, Tunable
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.training.engine import Plan
from fairjax.training.optimizer import FLOAT_BYTES, RUN_COPIES
from fairjax.training.runs import Run
from fairjax.training.store import Sweep
from fairjax.training.sweep import fill
from fairjax.utils import plugins
from fairjax.utils.storage import hash_arrays, hash_json


@dataclasses.dataclass(frozen=True)
class Tuned:
    """Tuned decoders on disk.

    Attributes:
      sweep: chunks of the runs, each with `params` (r, p) of its runs' best epochs, `validation`
        (r, m) the Dice of the validation objects, `score` (r, epochs + 1) that of every epoch
        (before the first, and after each), `loss` (r, epochs), and `best_epoch` (r,).
      config: how they were tuned.
      frozen: the model before.
    """

    sweep: Sweep
    config: TuneConfig
    frozen: Segmenter

    @property
    def runs(self) -> Sequence[Run]:
        """What was tuned."""
        return self.sweep.runs

    def table(self) -> pd.DataFrame:
        """Makes one row per run: its name and fields, validation score, best epoch."""
        rows = {
            run.name: {
                "run": run.name,
                **dataclasses.asdict(run),
                "validation_score": float(score[epoch]),
                "best_epoch": int(epoch),
            }
            for runs, arrays in self.sweep
            for run, score, epoch in zip(runs, arrays["score"], arrays["best_epoch"])
        }
        table = pd.DataFrame([rows[run.name] for run in self.runs])
        return table.astype({"strength": float})

    def params(self, run: Run) -> Params:
        """Reads the arrays that a run has trained."""
        vector = self.sweep.array(run.name, "params")
        return Tunable(self.frozen.module, self.config).unravel(jnp.asarray(vector))

    def segmenter(self, run: Run) -> Segmenter:
        """Gives the model with a run's decoder (and encoder, if that was tuned)."""
        params = {name: jnp.asarray(array) for name, array in self.params(run).items()}
        module: Any = Tunable(self.frozen.module, self.config).join(params)
        module = lora.merge(module) if self.config.lora_rank else module
        tuned = hash_arrays({name: np.asarray(array) for name, array in params.items()})
        return dataclasses.replace(
            self.frozen, module=module, key=self.frozen.key | {"tuned": tuned}
        )


def tune(
    segmenter: Segmenter,
    source: EmbeddingSource,
    train: Examples,
    validation: Examples,
    groups: Sequence[str],
    runs: Sequence[Run],
    config: TuneConfig,
    folder: Path,
    *,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> Tuned:
    """Tunes every run that is not on disk yet.

    A run's result depends on its seed and hyper-parameters, not on what it is tuned with (to about
    1e-6).

    Args:
      segmenter: the frozen model.
      source: what it is given of an image.
      train: objects that are trained on.
      validation: objects that select; the first prompt of each counts.
      groups: names of the groups whose codes the examples hold.
      runs: what to train.
      config: how.
      folder: where chunks are kept, below a folder named by the hash of all that a run's result
        depends on.
      seed: seed of the experiment.
      memory_bytes: budget of one device.
      shard: (index, count) of the process, as in `fairjax.training.sweep.sweep`.
      progress: whether to show a bar with runs/s and the time left.
    """
    tunable = Tunable(source.decoder_of(segmenter.module), config)
    codes = {run.method: plugins.code("objective", run.method) for run in runs}
    identity = {
        "fairjax": __version__,
        "model": segmenter.key,
        "train": _fingerprint(train),
        "validation": _fingerprint(validation),
        "groups": list(groups),
        "config": dataclasses.asdict(config),
        "seed": seed,
        "objectives": {method: code for method, code in codes.items() if code},
    }

    def make() -> Engine:
        names = tuple(dict.fromkeys(run.method for run in runs))
        threshold = segmenter.transform.masks.logit_threshold
        programs = Programs(tunable, source.embed, names, len(groups), config, threshold)
        return Engine(programs, source, train, validation, config, seed)

    cut = plan(runs, tunable, memory_bytes)
    options: dict[str, Any] = {"shard": shard, "progress": progress}
    return Tuned(
        fill(folder, identity, runs, cut, make, what="tuning", **options), config, segmenter
    )


def plan(runs: Sequence[Run], tunable: Tunable, memory_bytes: float) -> Plan:
    """Cuts a sweep so that a chunk's state fits into `memory_bytes` on each device.

    Args:
      runs: what to train.
      tunable: the model.
      memory_bytes: budget of one device.
    """
    devices, size = jax.local_device_count(), len(tunable.ravel(tunable.initial(0, 0)))
    fixed = sum(array.size for array in jax.tree.leaves(tunable.frozen))
    fit = int(memory_bytes / FLOAT_BYTES - 2 * fixed) // (RUN_COPIES * size)
    local = max(1, min(fit, MAX_PER_DEVICE, -(-len(runs) // devices)))
    taken = FLOAT_BYTES * (2 * fixed + local * RUN_COPIES * size)
    return Plan(runs, local * devices, taken, 0.0)


def _fingerprint(examples: Examples) -> str:
    arrays = {field.name: getattr(examples, field.name) for field in dataclasses.fields(examples)}
    return hash_json([arrays.pop("mask_size"), list(arrays.pop("images")), hash_arrays(arrays)])
