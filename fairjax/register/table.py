"""What all registrations share: a name that is free, and a trial whose failure is one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from fairjax.utils import plugins
from fairjax.utils.errors import UserError


def add(
    kind: str,
    table: MutableMapping[str, Any],
    name: str,
    row: Any,
    *,
    code: Any = None,
    version: str = "",
) -> None:
    """Adds a row to a table, and the hash of its code to the identities.

    Registering a name again replaces the user's own row (a cell of a notebook is run twice), and is
    refused for a row of fairjax.

    Args:
      kind: what is registered, such as `model`.
      table: the table.
      name: the row's name.
      row: what is added.
      code: what its results depend on; by default the row.
      version: changes the hash, where the code depends on more than can be seen.
    """
    require_free(kind, table, name)
    plugins.CODES[kind, name] = plugins.hash_code(row if code is None else code, version)
    table[name] = row


def require_free(kind: str, table: MutableMapping[str, Any], name: str) -> None:
    """Refuses a name that cannot be written in a configuration, or is taken.

    Raises:
      UserError: names what is registered.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"{kind} {name!r}: a name begins with a letter, then lower-case letters, digits and _"
        )
    if name in table and (kind, name) not in plugins.CODES:
        raise UserError(f"{kind} {name!r}: fairjax has one of this name; choose another")


def require_type(kind: str, name: Any, row: Any, cls: type) -> None:
    """Refuses a row of another type.

    Raises:
      UserError: names the type that is wanted.
    """
    if not isinstance(row, cls):
        wanted = f"{cls.__module__}.{cls.__qualname__}"
        raise UserError(f"{kind} {name!r} must be a {wanted}, not {type(row).__name__}")


@contextlib.contextmanager
def trial(what: str) -> Iterator[None]:
    """Turns whatever a user's function raises on made-up input into one line.

    Args:
      what: what is tried, such as `model 'mine' on images (2, 64, 64, 3)`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or "no message"
        raise UserError(f"{what} fails: {type(error).__name__}: {why}") from error
