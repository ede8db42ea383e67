"""Lists as users write them: `a,b`, `('a', 'b')` or one value; one rule for every command line."""

from __future__ import annotations

import ast
from typing import Any

from fairjax.utils.errors import UserError


def split_list(text: str) -> tuple[Any, ...]:
    """Reads a list: `a,b` and `1e-3,4e-3` are split at commas; what begins with a bracket is a
    tuple or list as Python writes it, whose items may hold commas.

    Args:
      text: as written after the `=` of a flag; blank is the empty list.

    Returns:
      The items: text from a plain list, and what Python reads from one in brackets.

    Raises:
      UserError: the brackets hold no list.
    """
    text = text.strip()
    if not text.startswith(("(", "[")):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise UserError(f"cannot read the list {text}; write it as a,b or ('a','b')") from None
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
