"""What users add from outside: the entry points that do it, and what an added function contains."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import sys
import types
from collections.abc import Mapping
from typing import Any

GROUP = "fairjax.plugins"
_OWN: dict[tuple[str, str], dict[str, str]] = {}


@functools.cache
def load() -> None:
    """Loads every entry point of the group `fairjax.plugins`, once.

    An entry point names a module, which registers as it is imported, or a function, which is called.
    One that fails is told in a line on stderr, and the others are loaded.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            loaded = entry.load()
            if callable(loaded):
                loaded()
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            print(f"fairjax: plugin {entry.name} ({entry.value}) failed: {why}", file=sys.stderr)
