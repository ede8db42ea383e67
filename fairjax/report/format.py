"""Numbers, names and lists as text."""

from __future__ import annotations

import math
from collections.abc import Iterable


def finite(value: float) -> bool:
    """Whether `value` is a number that can be shown."""
    return value is not None and math.isfinite(value)


def decimal(value: float, digits: int = 3) -> str:
    """Returns `value` with a true minus sign; "<0.001" for a positive one that rounds to 0."""
    if not finite(value):
        return "–"
    smallest = 10.0**-digits
    if 0 < value < smallest / 2:
        return f"<{smallest:.{digits}f}"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Returns a difference with its sign, e.g. "+0.012" or "−0.000", and "–" for NaN."""
    if not finite(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−") if value else f"{0:.{digits}f}"


def count(value: float) -> str:
    """Returns a count with thousands separators, or "–" if it is unknown."""
    return f"{int(value):,}" if finite(value) else "–"


def short(name: str, max_length: int = 20) -> str:
    """Returns a printable label, cut in its middle if it is long: names often differ at the end."""
    name = "".join(letter if letter.isprintable() else "�" for letter in name)
    if len(name) <= max_length:
        return name
    head = max_length // 2
    return f"{name[:head].rstrip()}…{name[head + 1 - max_length :].lstrip()}"


def comma_list(items: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def some(items: list[str], max_items: int = 8) -> str:
    """Returns "a, b and c", or of too many "a, b, … and 12 more"."""
    if len(items) <= max_items:
        return comma_list(items)
    return f"{', '.join(items[:max_items])} and {len(items) - max_items} more"
