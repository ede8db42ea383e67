"""The cache of embeddings: a directory per content key, a manifest of its complete shards."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fairjax.utils.errors import UserError
from fairjax.utils.storage import atomic_write, hash_file, hash_json, locked, read_json, write_json


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The embeddings of a dataset's images.

    Attributes:
      features: (n, d) float32, zeros where the image could not be read; (n, q, d) of a model with q
        vectors per image.
      valid: (n,) whether the image could be read.
      quarantined: one `{"row", "image", "reason"}` per image that could not.
      key: what the features are a function of.
    """

    features: Float[np.ndarray, "n *q d"]
    valid: Bool[np.ndarray, " n"]
    quarantined: list[dict[str, Any]]
    key: dict[str, Any]


@dataclasses.dataclass
class Cache:
    """Shards of consecutive rows of one dataset × model × preprocessing × precision.

    A shard counts only once the manifest names it, and the manifest is replaced atomically after
    the shard, so a process that is killed at any moment leaves a cache that is right as far as it
    goes.

    Attributes:
      root: the directory of all caches.
      key: what the features are a function of; another key, another directory.
      n: number of rows.
      shard_rows: rows per shard.
      process: index of the process, of several that fill a cache, each with its own manifest.
    """

    root: Path
    key: dict[str, Any]
    n: int
    shard_rows: int
    process: int = 0

    @property
    def directory(self) -> Path:
        """Where this key's shards are."""
        return self.root / hash_json(self.key | {"shard_rows": self.shard_rows})[:20]

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        """The key, and per complete shard its hash and its quarantined images."""
        found = [
            read_json(path)["shards"] for path in sorted(self.directory.glob("manifest*.json"))
        ]
        return {
            "key": self.key,
            "n": self.n,
            "shards": {name: entry for part in found for name, entry in part.items()},
        }

    def refresh(self) -> None:
        """Forgets the manifest: it may have grown."""
        self.__dict__.pop("manifest", None)

    def missing(self) -> list[range]:
        """The rows of each shard that is not complete."""
        spans = [
            range(a, min(a + self.shard_rows, self.n)) for a in range(0, self.n, self.shard_rows)
        ]
        return [span for span in spans if self._name(span) not in self.manifest["shards"]]

    def lock(self):
        """Holds this key against other processes."""
        return locked(
            self.directory / f"lock{self._suffix}",
            f"the embeddings in {self.directory} are being computed by another run; "
            "start again when it has ended",
        )

    def add(
        self,
        rows: range,
        features: Float[np.ndarray, "rows *q d"],
        quarantined: list[dict[str, Any]],
    ) -> None:
        """Writes one shard, then names it in the manifest."""
        path = self.directory / self._name(rows)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(features, np.float32), allow_pickle=False)
        atomic_write(path, lambda file: file.write(buffer.getbuffer()))
        self.manifest["shards"][path.name] = {"sha256": hash_file(path), "quarantined": quarantined}
        write_json(self.directory / f"manifest{self._suffix}.json", self.manifest)

    def quarantined(self) -> list[dict[str, Any]]:
        """Every image that could not be read so far, by row."""
        return [
            entry
            for name in sorted(self.manifest["shards"])
            for entry in self.manifest["shards"][name]["quarantined"]
        ]

    def paths(self) -> tuple[Path, ...]:
        """The complete shards, in the order of their rows."""
        return tuple(self.directory / name for name in sorted(self.manifest["shards"]))

    def check(self) -> None:
        """Compares the shards with their hashes.

        Raises:
          UserError: a shard is damaged; it names the directory to delete.
        """
        for path in self.paths():
            entry = self.manifest["shards"][path.name]
            if not path.exists() or hash_file(path) != entry["sha256"]:
                raise UserError(
                    f"the embedding cache is damaged: {path} is missing or not what was written; "
                    f"delete {self.directory} and run again"
                )

    def load(self, keep: Callable[[np.ndarray], np.ndarray] | None = None) -> Embeddings:
        """Reads all shards.

        Args:
          keep: (b, …) → (b, …), what is kept of each shard's features; all by default.

        Raises:
          UserError: a shard is damaged.
        """
        self.check()
        parts = (np.load(path, allow_pickle=False) for path in self.paths())
        return self.filled(np.concatenate([keep(part) if keep else part for part in parts]))

    def filled(self, features: Float[np.ndarray, "n *q d"]) -> Embeddings:
        """Features with what the manifest says of their rows."""
        quarantined = self.quarantined()
        valid = np.ones(self.n, bool)
        valid[[entry["row"] for entry in quarantined]] = False
        return Embeddings(features, valid, quarantined, self.key)

    @property
    def _suffix(self) -> str:
        return f"-{self.process}" if self.process else ""

    def _name(self, rows: range) -> str:
        return f"rows-{rows.start:09d}-{rows.stop:09d}.npy"
