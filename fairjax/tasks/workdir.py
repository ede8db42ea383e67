"""The work directory: one configuration, one process at a time, and a log of what was done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairjax.utils import distributed
from fairjax.utils.environment import environment
from fairjax.utils.errors import UserError
from fairjax.utils.storage import locked, read_json, write_json

# Settings that may differ from those of the results that are there: every run, and what was made of
# it, is kept under the hash of what it depends on, so that more of them only add.
GROWING = (
    "seeds",
    *(
        f"training.{key}"
        for key in (
            "usages",
            "methods",
            "postprocess",
            "sensitive",
            "strengths",
            "learning_rates",
            "weight_decays",
        )
    ),
    "training.select",
)
COMPUTED = ("scores", "results.parquet")  # what makes a work directory one of its configuration


@dataclasses.dataclass(frozen=True)
class WorkDir:
    """An open work directory.

    Attributes:
      path: the folder.
      environment: versions, devices and platform of this process.
      first: whether this process is the one that writes and speaks; of several, the others only
        compute.
    """

    path: Path
    environment: dict[str, Any]
    first: bool = True

    def log(self, event: str, **facts: Any) -> None:
        """Appends one line to `log.jsonl` and says it on the terminal."""
        if not self.first:
            return
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts}
        with open(self.path / "log.jsonl", "a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(
            f"{event}: " + ", ".join(f"{key} {value}" for key, value in facts.items()), flush=True
        )

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Logs what a stage puts into the dict it is given, and the seconds it took."""
        facts: dict[str, Any] = {}
        start = time.monotonic()
        yield facts
        self.log(name, **facts, seconds=round(time.monotonic() - start, 2))


@contextlib.contextmanager
def opened(path: Path, config: Mapping[str, Any], command: str) -> Iterator[WorkDir]:
    """Holds a work directory for this process and writes `config.json` and `environment.json` into
    it.

    Raises:
      UserError: another run holds it, it is a file, or it holds results of other settings.
    """
    if not distributed.is_first():
        distributed.barrier(f"opened {path}")
        yield WorkDir(path, {}, first=False)
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"the work directory {path} is a file; choose another --workdir")
    with locked(
        path / ".lock",
        f"the work directory {path} is in use by another run; wait for it, or choose another --workdir",
    ):
        settings = json.loads(json.dumps(config))
        if any((path / name).exists() for name in COMPUTED):
            changed = _differences(read_json(path / "config.json"), settings)
            differing = [line for line in changed if line.partition(" ")[0] not in GROWING]
            if differing:
                raise UserError(
                    f"the work directory {path} holds results of other settings ({'; '.join(differing)}); "
                    f"choose another --workdir"
                )
        write_json(path / "config.json", settings)
        facts = environment(command)
        write_json(path / "environment.json", facts)
        distributed.barrier(f"opened {path}")
        yield WorkDir(path, facts)


def _differences(old: Any, new: Any, key: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for k in keys
            for line in _differences(old.get(k), new.get(k), f"{key}.{k}" if key else k)
        ]
    return [] if old == new else [f"{key} was {json.dumps(old)}, is {json.dumps(new)}"]
