"""The sweep of mask decoders: runs in chunks; a chunk is on disk before the next begins."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import jax
import jax.numpy as jnp
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fairjax import __version__
from fairjax.models.checkpoint import state_dict, with_arrays
from fairjax.segmentation.image_embeddings import Source
from fairjax.segmentation.segmenter import Segmenter
from fairjax.segmentation.tuning import lora
from fairjax.segmentation.tuning.engine import Engine
from fairjax.segmentation.tuning.examples import Examples
from fairjax.segmentation.tuning.program import Layout, Params, Programs
from fairjax.segmentation.tuning.runs import TuneConfig, TuneRun
from fairjax.utils import progress
from fairjax.utils.storage import atomic_write, hash_arrays, hash_json, read_json, write_json


@dataclasses.dataclass(frozen=True)
class Tuned:
    """Tuned decoders on disk; chunks are read one at a time.

    Attributes:
      runs: what was trained.
      width: runs per chunk.
      folder: where `chunk-00000.safetensors` … lie, each with `params` (r, p) of its runs' best
        epochs, `validation` (r, m) the Dice of the validation objects, `score` (r, epochs + 1) that
        of every epoch (before the first, and after each), `loss` (r, epochs), and `best_epoch`
        (r,).
      layout: where in `params` each array lies.
    """

    runs: Sequence[TuneRun]
    width: int
    folder: Path
    layout: Layout

    def table(self) -> pd.DataFrame:
        """One row per run: method, strength, learning_rate, seed, validation score, best epoch."""
        rows = []
        for index, chunk in enumerate(_chunks(self.runs, self.width)):
            arrays = load_file(_path(self.folder, index))
            for place, run in enumerate(chunk):
                epoch = int(arrays["best_epoch"][place])
                facts = {"run": run.name, **dataclasses.asdict(run)}
                rows.append(
                    facts
                    | {
                        "validation_score": float(arrays["score"][place, epoch]),
                        "best_epoch": epoch,
                    }
                )
        return pd.DataFrame(rows)

    def params(self, run: TuneRun) -> Params:
        """The arrays that a run has trained."""
        chunk, place = divmod(self.runs.index(run), self.width)
        return self.layout.take(load_file(_path(self.folder, chunk))["params"][place])

    def segmenter(self, frozen: Segmenter, run: TuneRun) -> Segmenter:
        """The model with a run's decoder (and encoder, where that was tuned)."""
        params = self.params(run)
        arrays = {name: jnp.asarray(array) for name, array in params.items()}
        known = state_dict(frozen.module)
        module = with_arrays(frozen.module, known | lora.merged(known, arrays))
        return dataclasses.replace(
            frozen, module=module, key=frozen.key | {"tuned": hash_arrays(params)}
        )


def tune(
    segmenter: Segmenter,
    source: Source,
    train: Examples,
    validation: Examples,
    groups: Sequence[str],
    runs: Sequence[TuneRun],
    config: TuneConfig,
    folder: Path,
    *,
    seed: int = 0,
    memory_bytes: float = 4 * 2**30,
    show_progress: bool = True,
) -> Tuned:
    """Tunes every run; a chunk that is on disk is not tuned again.

    A run's result depends on its seed and settings, not on who it is tuned with (to about 1e-6).

    Args:
      segmenter: the frozen model.
      source: what it is given of an image.
      train, validation: the objects of two sides; of the second, the first prompt of each counts.
      groups: names of the groups whose codes the examples hold.
      runs: what to train.
      config: how.
      folder: where chunks are kept, below a folder named by the hash of all that they depend on.
      seed: of the experiment.
      memory_bytes: budget of one device.
      show_progress: whether to show a bar with runs/s and the time left.
    """
    programs = Programs(
        source.wrap(segmenter.module),
        tuple(dict.fromkeys(run.method for run in runs)),
        len(groups),
        config,
        0.0 if segmenter.frame.cut is None else segmenter.frame.cut,
    )
    engine = Engine(programs, source, train, validation, config, seed)
    width = engine.width(len(runs), memory_bytes)
    identity = {
        "fairjax": __version__,
        "model": segmenter.key,
        "train": _fingerprint(train),
        "validation": _fingerprint(validation),
        "groups": list(groups),
        "config": dataclasses.asdict(config),
        "runs": [run.name for run in runs],
        "width": width,
        "devices": jax.local_device_count(),
        "seed": seed,
    }
    folder = folder / hash_json(identity)[:12]
    write_json(folder / "tuning.json", identity)
    chunks = _chunks(runs, width)
    missing = [index for index in range(len(chunks)) if not _complete(folder, index)]
    done = len(runs) - sum(len(chunks[index]) for index in missing)
    with progress.bar(
        "tuning", "run", len(runs), done=done, show=show_progress and bool(missing)
    ) as bar:
        for index in missing:
            arrays = engine.train(chunks[index], width, bar)
            path = _path(folder, index)
            atomic_write(path, functools.partial(_write, save(arrays)))
            write_json(path.with_suffix(".json"), {"sha256": hash_arrays(arrays)})
    return Tuned(runs, width, folder, programs.layout)


def _fingerprint(examples: Examples) -> str:
    arrays = {field.name: getattr(examples, field.name) for field in dataclasses.fields(examples)}
    return hash_json([arrays.pop("low"), list(arrays.pop("images")), hash_arrays(arrays)])


def _chunks(runs: Sequence[TuneRun], width: int) -> list[list[TuneRun]]:
    return [list(runs[start : start + width]) for start in range(0, len(runs), width)]


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def _path(folder: Path, index: int) -> Path:
    return folder / f"chunk-{index:05d}.safetensors"


def _complete(folder: Path, index: int) -> bool:
    """Whether a chunk is on disk and is what was written; a damaged one is trained again."""
    path = _path(folder, index)
    if not (path.exists() and path.with_suffix(".json").exists()):
        return False
    try:
        return hash_arrays(load_file(path)) == read_json(path.with_suffix(".json"))["sha256"]
    except SafetensorError:
        return False
