"""Fields of a configuration's sections: what they accept, when they may change, what they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from fairjax.models.architectures.fields import from_dict
from fairjax.utils.errors import UserError, lookup
from fairjax.utils.lists import split_list

Choices = Iterable[str] | Callable[[], Iterable[str]]


def option(
    default: Any,
    *,
    unit: str = "",
    choices: Choices = (),
    minimum: float | None = None,
    grows: bool = False,
    evaluation: bool = False,
) -> Any:
    """Declares a field of a section.

    Args:
      default: its value if none is given.
      unit: what it counts, for people.
      choices: names that it may have, or a function that gives them (a table that may grow); of a
        list, names of its items.
      minimum: the smallest value.
      grows: whether it may change in a work directory that holds results, because only runs are
        added or left out.
      evaluation: whether it may change there because only the evaluation depends on it.
    """
    facts = {
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "grows": grows,
        "evaluation": evaluation,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def check_options(where: str, section: Any) -> None:
    """Checks every field of a section that says what it accepts.

    Raises:
      UserError: names the key and what it may be.
    """
    for field in dataclasses.fields(section):
        key, value = f"{where}.{field.name}".lstrip("."), getattr(section, field.name)
        items = value if isinstance(value, tuple) else (value,)
        if names := names_of(field):
            for item in items:
                lookup(key, item, dict.fromkeys(names))
        minimum = field.metadata.get("minimum")
        if minimum is not None and min(items, default=minimum) < minimum:
            raise UserError(f"{key} must be at least {minimum}, not {value}")


def names_of(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The choices of a field, () where it has none."""
    choices = field.metadata.get("choices", ())
    return tuple(choices() if callable(choices) else choices)


def require_distinct(key: str, values: Iterable[Any]) -> None:
    """Refuses an empty list, and one that repeats a value."""
    values = tuple(values)
    if not values or len(set(values)) < len(values):
        raise UserError(f"{key} must be distinct, at least one, not {values}")


def build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Builds a section, or a configuration of sections, from plain values.

    A list may be given as `a,b`, as a tuple or as one value; its items get the type of the field.

    Raises:
      UserError: names every key that is unknown or of a wrong type.
    """
    return from_dict(cls, _with_lists(cls, values), where)


def _with_lists(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    types, found = get_type_hints(cls), dict(values)
    for name, value in values.items():
        kind = types.get(name)
        if get_origin(kind) is tuple:
            found[name] = _as_tuple(value, get_args(kind)[0])
        elif dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            found[name] = _with_lists(kind, value)  # type: ignore[arg-type]
    return found


def _as_tuple(value: Any, item: Any) -> tuple[Any, ...]:
    items = split_list(value) if isinstance(value, str) else value
    if not isinstance(items, (tuple, list)):
        items = (items,)
    accepted = get_args(item) or (item,)
    return tuple(_as_item(one, accepted) for one in items)


def _as_item(value: Any, accepted: tuple[Any, ...]) -> Any:
    """A number where numbers are accepted and it is one, else text; else as it is."""
    number = next((kind for kind in (int, float) if kind in accepted), None)
    if number and isinstance(value, (str, int, float)):
        try:
            return number(value)
        except ValueError:
            return value
    return str(value) if str in accepted else value
