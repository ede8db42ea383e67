"""What users add from outside: the entry points that add it, and what an added function contains.

`load` runs the entry points of the group `fairjax.plugins`. What they register has a `code` here, a
hash that is part of cache keys and run ids, so that a changed function is computed again.
"""

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
CODES: dict[tuple[str, str], str] = {}  # (kind, name) → hash of what was registered


@functools.cache
def load() -> None:
    """Loads every entry point of the group `fairjax.plugins`, once.

    An entry point names a module, which registers when it is imported, or a function, which is
    called. One that fails is named in a line on stderr, and the others are loaded.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            loaded = entry.load()
            if callable(loaded):
                loaded()
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            print(f"fairjax: plugin {entry.name} ({entry.value}) failed: {why}", file=sys.stderr)


def codes(*kinds: str) -> dict[str, str]:
    """The hashes of all that is registered of some kinds, for identities."""
    found = ((kind, name, code) for (kind, name), code in CODES.items() if kind in kinds)
    return {f"{kind} {name}": code for kind, name, code in sorted(found)}


def code(kind: str, name: str) -> dict[str, str]:
    """The hash of one registered thing, for an identity; empty for what fairjax has itself."""
    return {"code": CODES[kind, name]} if (kind, name) in CODES else {}


def hash_code(thing: Any, version: str = "") -> str:
    """Hashes what a function, class, object or table row contains.

    That is its source, the constants of its closure and defaults, and likewise every function,
    class and constant of the same package that it uses. What it imports from elsewhere counts by
    name.

    Args:
      thing: what is registered.
      version: changes the hash, where the thing depends on more than can be seen.

    Returns:
      SHA-256, as hex.
    """
    digest = hashlib.sha256(version.encode())
    _Hasher(digest, _package(thing)).add(thing)
    return digest.hexdigest()


def _package(thing: Any) -> str:
    """The top-level package in which a thing, or a function in it, is written."""
    thing = thing.func if isinstance(thing, functools.partial) else thing
    name = (getattr(thing, "__module__", None) or "").partition(".")[0]
    if name not in ("", "builtins", "fairjax"):
        return name
    parts = thing if isinstance(thing, tuple) else getattr(thing, "__dict__", {}).values()
    return next(filter(None, map(_package, filter(callable, parts))), "")


class _Hasher:
    def __init__(self, digest: Any, package: str):
        self.digest, self.package, self.seen = digest, package, set[int]()

    def add(self, thing: Any) -> None:
        """Adds a value and what it contains, each object once."""
        if isinstance(thing, (str, bytes, int, float, complex, bool, type(None))):
            return self._text(repr(thing))
        if id(thing) in self.seen:
            return self._text("again")
        self.seen.add(id(thing))
        if isinstance(thing, functools.partial):
            return self._parts("partial", thing.func, thing.args, thing.keywords)
        if isinstance(thing, types.MethodType):
            return self._parts("method", thing.__self__, thing.__func__)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, Mapping):
            return self._parts("mapping", *(part for item in thing.items() for part in item))
        if isinstance(thing, (set, frozenset)):
            return self._parts("set", *sorted(thing, key=repr))
        if isinstance(thing, (tuple, list)):
            return self._parts(type(thing).__name__, *thing)
        if hasattr(thing, "__array__"):
            array = thing.__array__()
            self._text(f"{array.dtype} {array.shape}")
            return self.digest.update(array.tobytes())
        return self._parts("object", type(thing), getattr(thing, "__dict__", {}))

    def _text(self, text: str) -> None:
        self.digest.update(f"{len(text)}:{text}".encode())

    def _parts(self, kind: str, *parts: Any) -> None:
        self._text(f"{kind} {len(parts)}")
        for part in parts:
            self.add(part)

    def _function(self, function: types.FunctionType) -> None:
        self._text(f"{function.__module__}.{function.__qualname__}")
        if not self._is_ours(function):
            return
        self._text(_source(function))
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        self._parts("function", cells, function.__defaults__, function.__kwdefaults__)
        self._globals(function.__code__, function.__globals__)

    def _class(self, cls: type) -> None:
        self._text(f"{cls.__module__}.{cls.__qualname__}")
        if not self._is_ours(cls):
            return
        self._text(_source(cls))
        for member in vars(cls).values():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, types.FunctionType):
                self._globals(function.__code__, function.__globals__)
        self._parts("bases", *cls.__bases__)

    def _globals(self, code: types.CodeType, names: Mapping[str, Any]) -> None:
        """Adds the module's functions, classes and constants that code uses."""
        for name in code.co_names:
            if name in names and not isinstance(names[name], types.ModuleType):
                self._text(name)
                self.add(names[name])
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._globals(constant, names)

    def _is_ours(self, thing: Any) -> bool:
        return thing.__module__.partition(".")[0] == self.package


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return repr((code.co_code, code.co_consts)) if code else ""
