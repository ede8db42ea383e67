"""`python -m fairjax.models [NAME]`: the table of foundation models, or all that it says of one."""

from __future__ import annotations

import dataclasses
import sys

from fairjax.models.zoo import MODELS, FoundationModel
from fairjax.utils.errors import EXIT_USER_ERROR, UserError, lookup

HEADER = (
    "name",
    "family",
    "input",
    "probe",
    "tokens",
    "zero-shot logits",
    "published file",
    "licence",
    "model",
)


def table() -> str:
    """The zoo as aligned text, one line per model."""
    rows = [HEADER, *map(_cells, MODELS.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows
    )


def _cells(row: FoundationModel) -> tuple[str, ...]:
    """One model: input in pixels, width of the probed feature, most tokens of a prompt, and words."""
    numbers = (row.preprocess.size, row.architecture.probe_width, row.context_length or "")
    return (
        row.name,
        row.family,
        *map(str, numbers),
        row.zero_shot,
        row.published_file,
        row.licence,
        row.title,
    )


def description(name: str) -> str:
    """All fields of one row, one line each, those of its architecture by dotted names."""
    row = lookup("model", name, MODELS)
    lines = [f"{path} = {value!r}" for path, value in _flat("", dataclasses.asdict(row))]
    return "\n".join([*lines, f"probe_width = {row.architecture.probe_width}"])


def _flat(path: str, value):
    if not isinstance(value, dict):
        return [(path, value)]
    return [
        item
        for key, inner in value.items()
        for item in _flat(f"{path}.{key}" if path else key, inner)
    ]


def main(arguments: list[str]) -> int:
    """Prints the table, or the rows that are named; returns the exit code."""
    try:
        print("\n\n".join(map(description, arguments)) if arguments else table())
    except UserError as error:
        print(f"fairjax.models: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
