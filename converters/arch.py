"""ARCH.json: sizes that differ from the published ones, in our names or in a layout's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fairjax.converters.engine import Layout
from fairjax.models.architectures import override
from fairjax.utils.errors import UserError, did_you_mean

# Objects of fields in which the publisher's names come before ours.
THEIRS = ("constructor", "config")
# A file may hold the fields themselves or one of these objects of fields, in this order.
SECTIONS = (*THEIRS, "architecture")


def resolve(published, given: Mapping[str, Any], layout: Layout):
    """Applies what a layout implies, and the fields of an ARCH.json, to the published architecture.

    Args:
      published: the zoo row's architecture.
      given: the file's content: fields, or an object that holds them under a key of `SECTIONS`.
      layout: layout of the checkpoint; its `aliases` translate the names of its own configuration.

    Raises:
      UserError: unknown fields, with the nearest ones, or values of a wrong type.
    """
    section = next(
        (section for section in SECTIONS if isinstance(given.get(section), Mapping)), None
    )
    given = given if section is None else given[section]
    ours = dataclasses.asdict(published)
    dotted = {
        f"{key}.{inner}"
        for key, value in ours.items()
        if isinstance(value, dict)
        for inner in value
    }
    changes: dict[str, Any] = dict(layout.implied)
    faults = []
    for name, value in given.items():
        if name in layout.ignored:
            continue
        known = name in ours or name in dotted
        if known and not (section in THEIRS and name in layout.aliases):
            changes[name] = value
        elif name in layout.aliases:
            alias = layout.aliases[name]
            try:
                changes |= {alias: value} if isinstance(alias, str) else alias(value, given)
            except (KeyError, TypeError, ValueError) as error:
                faults.append(
                    f"{name!r}: {value!r} cannot be used ({type(error).__name__}: {error})"
                )
        else:
            faults.append(
                f"unknown field {name!r}{did_you_mean(name, {*ours, *dotted, *layout.aliases})}"
            )
    if faults:
        raise UserError(f"architecture file: {'; '.join(faults)}")
    return override(published, changes)
