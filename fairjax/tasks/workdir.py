"""The work directory: one configuration, one process at a time, and a log of what was done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fairjax.tasks.config import Config, changes
from fairjax.utils import distributed
from fairjax.utils.environment import environment
from fairjax.utils.errors import UserError
from fairjax.utils.storage import locked, read_json, write_json

COMPUTED = ("scores", "results.parquet")  # what makes a work directory one of its configuration


@dataclasses.dataclass(frozen=True)
class WorkDir:
    """An open work directory.

    Attributes:
      path: the folder.
      environment: versions, devices and platform of this process.
      first: whether this process writes and speaks; of several, the others only compute.
    """

    path: Path
    environment: dict[str, Any]
    first: bool = True

    def log(self, event: str, **facts: Any) -> None:
        """Appends one line to `log.jsonl` and says it on the terminal."""
        self._log(event, facts, ", ".join(f"{key} {value}" for key, value in facts.items()))

    def notes(self, texts: Iterable[str]) -> None:
        """Logs what a user must know, a line each."""
        for text in texts:
            self._log("note", {"text": text}, text)

    def _log(self, event: str, facts: Mapping[str, Any], text: str) -> None:
        if not self.first:
            return
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts}
        with open(self.path / "log.jsonl", "a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(f"{event}: {text}", flush=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Logs what a stage puts into the dict it is given, and the seconds it took."""
        facts: dict[str, Any] = {}
        start = time.monotonic()
        yield facts
        self.log(name, **facts, seconds=round(time.monotonic() - start, 2))


@contextlib.contextmanager
def opened(path: Path, config: Config, command: str) -> Iterator[WorkDir]:
    """Holds a work directory for this process and writes `config.json` and `environment.json` into
    it.

    Raises:
      UserError: another run holds it, it is a file, or it holds results of settings that may not
        change.
    """
    if not distributed.is_first():
        distributed.barrier(f"opened {path}")
        yield WorkDir(path, {}, first=False)
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"the work directory {path} is a file; choose another --workdir")
    with locked(
        path / ".lock",
        f"the work directory {path} is in use by another run; wait for it, or choose another "
        "--workdir",
    ):
        changed = _changed(path, config)
        write_json(path / "config.json", config.to_dict())
        facts = environment(command)
        write_json(path / "environment.json", facts)
        distributed.barrier(f"opened {path}")
        work = WorkDir(path, facts)
        if changed:
            work.log("settings", changed=", ".join(changed))
        yield work


def _changed(path: Path, config: Config) -> list[str]:
    """The settings that differ from those of the results in a work directory, and may."""
    if not any((path / name).exists() for name in COMPUTED):
        return []
    old = read_json(path / "config.json")
    refused, allowed = changes(type(config), old, config.to_dict())
    if refused:
        raise UserError(
            f"the work directory {path} holds results of other settings ({'; '.join(refused)}); "
            f"choose another --workdir"
        )
    return allowed
