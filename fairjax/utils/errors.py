"""Mistakes of the user's: one clear line each, and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

EXIT_USER_ERROR = 2
Row = TypeVar("Row")


class UserError(Exception):
    """What was wrong, where, and what to do about it, in one line; shown without a traceback."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the choice nearest to `name`, or the list of choices where
    none is near.
    """
    choices = sorted(map(str, choices))
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(choices)}"


def lookup(kind: str, name: str, table: Mapping[str, Row]) -> Row:
    """Returns `table[name]`, or raises a `UserError` that says which `kind` of name is unknown and
    which is nearest.
    """
    try:
        return table[name]
    except KeyError:
        raise UserError(f"unknown {kind} {name!r}{did_you_mean(name, table)}") from None
