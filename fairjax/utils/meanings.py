"""What the docstring of a dataclass says of its fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any


def meanings(cls: type[Any]) -> dict[str, str]:
    """Returns field → its line under `Attributes:`, those of base classes too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        _, _, listed = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for names, text in re.findall(
            r"^  (\w[\w, ]*): (.*(?:\n    .*)*)", listed, flags=re.MULTILINE
        ):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found
