"""`fairjax models [NAME …]`: the table of foundation models, or all fields of some."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fairjax.utils import cli, plugins
from fairjax.utils.errors import lookup
from fairjax.utils.text import aligned

if TYPE_CHECKING:
    from fairjax.models.zoo import FoundationModel

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


def main(argv: list[str]) -> None:
    """Prints the table, or the rows that are named."""
    plugins.load()
    print("\n\n".join(map(description, argv[1:])) if argv[1:] else table())


def table() -> str:
    """The zoo as aligned text, one line per model."""
    from fairjax.models.zoo import MODELS

    return "\n".join(aligned([HEADER, *map(_columns, MODELS.values())]))


def _columns(row: FoundationModel) -> tuple[str, ...]:
    """The columns of `HEADER` for one model."""
    numbers = (row.preprocess.size, row.architecture.probe_width, row.context_length or "")
    texts = (row.zero_shot, row.published_file, row.licence, row.title)
    return (row.name, row.family, *map(str, numbers), *texts)


def description(name: str) -> str:
    """All fields of one row, one line each, those of its architecture by dotted names."""
    from fairjax.models.zoo import MODELS

    row = lookup("model", name, MODELS)
    lines = [f"{path} = {value!r}" for path, value in _flat("", dataclasses.asdict(row))]
    return "\n".join([*lines, f"probe_width = {row.architecture.probe_width}"])


def _flat(path: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [
        item
        for key, inner in value.items()
        for item in _flat(f"{path}.{key}" if path else key, inner)
    ]


if __name__ == "__main__":
    cli.run(main)
