"""Settings and facts as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairjax.report.format import finite

_LABELS = {
    "n_images": "images",
    "n_patients": "patients",
    "weights_sha256": "SHA-256 of weights",
    "sha256": "SHA-256 of the input",
}


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns (label, text) of each value that is not empty."""
    found = [
        (_LABELS.get(key, str(key).replace("_", " ")), _text(value))
        for key, value in values.items()
    ]
    return [(key, text) for key, text in found if text]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns (dotted key, text) of nested settings."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        lines += (
            flat(value, f"{name}.")
            if isinstance(value, Mapping) and value
            else [(name, _text(value) or "–")]
        )
    return lines


def _text(value: Any) -> str:
    """Returns a setting as text."""
    if value is None or (isinstance(value, float) and not finite(value)):
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    grouped = isinstance(value, int) and not isinstance(value, bool) and value >= 10_000
    return f"{value:,}" if grouped else str(value)
