"""What was trained, on disk: a folder of chunks, each a file of some runs and a record that it is
whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fairjax.datasets.volumes import pool
from fairjax.training.runs import Run
from fairjax.utils.errors import UserError
from fairjax.utils.storage import atomic_write, hash_arrays, hash_json, read_json, write_json

Arrays = dict[str, np.ndarray]  # the run first


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A file of trained heads.

    Attributes:
      path: `chunk-<hash of the names of its runs>.safetensors`; next to it, a record of the same
        name in JSON.
      names: names of its runs, in order.
    """

    path: Path
    names: tuple[str, ...]


def chunk_of(folder: Path, runs: Sequence[Run]) -> Chunk:
    """Where some runs are, or will be."""
    names = tuple(run.name for run in runs)
    return Chunk(folder / f"chunk-{hash_json(names)[:12]}.safetensors", names)


def write(chunk: Chunk, arrays: Arrays) -> None:
    """Writes a chunk, and then the record that makes it count."""
    atomic_write(chunk.path, functools.partial(_write, save(arrays)))
    write_json(
        chunk.path.with_suffix(".json"), {"sha256": hash_arrays(arrays), "runs": chunk.names}
    )


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def read(folder: Path) -> list[Chunk]:
    """Finds the chunks that are whole; a damaged one counts as missing, and is trained again."""
    records = ((path, read_json(path)) for path in sorted(folder.glob("chunk-*.json")))
    chunks = [
        (Chunk(path.with_suffix(".safetensors"), tuple(of["runs"])), of["sha256"])
        for path, of in records
    ]
    return [chunk for chunk, sha256 in chunks if _whole(chunk.path, sha256)]


def _whole(path: Path, sha256: str) -> bool:
    try:
        return path.exists() and hash_arrays(load_file(path)) == sha256
    except SafetensorError:
        return False


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trained heads on disk; chunks are read one at a time.

    Attributes:
      runs: what was asked for.
      folder: where the chunks are, each with the head's arrays, `validation_scores` (r, m),
        `test_scores` (r, n), `validation_loss` (r,) and `best_epoch` (r,).
      chunks: those that hold the runs, in the order of the runs.
      pool: how scores of slices become those of volumes when they are read
        (`fairjax.datasets.volumes.pool`).
      volumes: split name → (n,) the volume of each slice; empty where scores are of images and stay
        as they are.
    """

    runs: Sequence[Run]
    folder: Path
    chunks: Sequence[Chunk]
    pool: str = ""
    volumes: Mapping[str, Int[np.ndarray, " n"]] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[list[Run], Arrays]]:
        for chunk in self.chunks:
            yield self.load(chunk)

    def load(self, chunk: Chunk) -> tuple[list[Run], Arrays]:
        """The runs of a chunk that were asked for, and their arrays."""
        rows = [row for row, name in enumerate(chunk.names) if name in self._by_name]
        arrays = {name: array[rows] for name, array in load_file(chunk.path).items()}
        pooled = {f"{name}_scores": volume for name, volume in self.volumes.items()}
        arrays |= {name: pool(arrays[name], volume, self.pool) for name, volume in pooled.items()}
        return [self._by_name[chunk.names[row]] for row in rows], arrays

    @functools.cached_property
    def _by_name(self) -> dict[str, Run]:
        return {run.name: run for run in self.runs}

    def array(self, run: str, name: str) -> np.ndarray:
        """Reads an array of one run, both by name."""
        chunk = next(chunk for chunk in self.chunks if run in chunk.names)
        runs, arrays = self.load(chunk)
        return arrays[name][[other.name for other in runs].index(run)]

    def test_scores(self, run: str) -> Float[np.ndarray, " n"]:
        """Reads scores (n,) of one run, by name, on the test split."""
        return self.array(run, "test_scores")


def gather(folder: Path, runs: Sequence[Run]) -> Sweep:
    """The sweep of runs that are all in a folder.

    Raises:
      UserError: some are not, for another process failed to train them.
    """
    position = {run.name: index for index, run in enumerate(runs)}
    chunks = [chunk for chunk in read(folder) if any(name in position for name in chunk.names)]
    if absent := position.keys() - {name for chunk in chunks for name in chunk.names}:
        raise UserError(
            f"{len(absent)} of {len(runs)} runs were not trained, such as {min(absent)}; "
            "run it again"
        )
    chunks.sort(key=lambda chunk: min(position[name] for name in chunk.names if name in position))
    return Sweep(runs, folder, chunks)
