"""Configurations from JSON values, and with fields replaced: names and types are checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints, runtime_checkable

from fairjax.utils.errors import UserError, did_you_mean

Fields = TypeVar("Fields")  # any frozen dataclass of plain values


@runtime_checkable
class Architecture(Protocol):
    """What is known of every model's architecture, whatever its family."""

    @property
    def image_size(self) -> int:
        """Pixels per side of the square input."""

    @property
    def probe_width(self) -> int:
        """Numbers in the feature that is linear-probed."""


def from_dict(cls: type[Fields], values: Mapping[str, Any], where: str = "architecture") -> Fields:
    """Builds a dataclass from JSON values, checking names and types.

    Args:
      cls: the dataclass; its fields may be dataclasses too.
      values: field → value, as JSON holds them.
      where: what error messages call it.

    Raises:
      UserError: names every field that is unknown, missing or of a wrong type.
    """
    types = get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    faults = [
        f"{where}.{name} is unknown{did_you_mean(name, types)}"
        for name in values
        if name not in types
    ]
    faults += [f"{where}.{name} is missing" for name in sorted(required - set(values))]
    built: dict[str, Any] = {}
    for name, kind in types.items():
        if name not in values:
            continue
        value = values[name]
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            try:
                built[name] = from_dict(kind, value, f"{where}.{name}")  # type: ignore[arg-type]
            except UserError as error:
                faults.append(str(error))
            continue
        built[name] = tuple(value) if isinstance(value, list) else value
        if not _fits(built[name], kind):
            faults.append(
                f"{where}.{name} must be {getattr(kind, '__name__', kind)}, not {value!r}"
            )
    if faults:
        raise UserError("; ".join(faults))
    return cls(**built)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping)
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(item, inner) for item in value)
    if args := get_args(kind):
        return any(_fits(value, arg) for arg in args)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def override(architecture: Fields, changes: Mapping[str, Any]) -> Fields:
    """Returns a copy with fields replaced, nested ones by nested mappings or by dotted names."""
    merged = dataclasses.asdict(architecture)  # type: ignore[call-overload]
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        inner = merged
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if isinstance(value, Mapping) and isinstance(inner.get(leaf), dict):
            inner[leaf].update(value)
        else:
            inner[leaf] = value
    return from_dict(type(architecture), merged)
