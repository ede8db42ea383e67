"""`docs/config.md`, made of the fields: `python -m fairjax.tasks.docs > docs/config.md`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, get_type_hints

from fairjax.datasets.options import CatalogOptions, TableOptions
from fairjax.datasets.phantoms import PhantomConfig
from fairjax.tasks.config import (
    ClassificationConfig,
    Config,
    SegmentationConfig,
    SweptDataset,
    SweptModel,
)
from fairjax.tasks.options import names_of
from fairjax.utils.meanings import meanings

HEAD = """# Every key of a configuration

Made by `python -m fairjax.tasks.docs > docs/config.md`. A key is set by `--config.KEY=VALUE`. A
list is written `a,b`, `('a','b')` or as one value; one whose items hold commas as `('a, b',)`.

*grows*: may change in a work directory that holds results, because runs are only added or left out.
*evaluation*: may change there too; nothing is trained again, and the evaluation is made anew. Every
other change needs another work directory.
"""
_OF_DATASET = "Further keys of `dataset` (in a sweep: of `datasets.NAME`), "
OPTIONS = (
    (_OF_DATASET + "of a dataset in the catalog", "dataset", CatalogOptions),
    (_OF_DATASET + "of a user's own table", "dataset", TableOptions),
    (_OF_DATASET + "of `synthetic`", "dataset", PhantomConfig),
)
SWEEP = (
    ("Sweep: one dataset", "datasets.NAME", SweptDataset),
    ("Sweep: one model", "models.NAME", SweptModel),
)


def document() -> str:
    """The page: a table for each section."""
    shared = {field.name for field in dataclasses.fields(Config)} - {"evaluation"}
    parts = [HEAD, *_of("Every task", Config, only=shared)]
    parts += [_table(*of) for of in OPTIONS]
    parts += _of("Classification", ClassificationConfig, without=shared)
    parts += _of("Segmentation", SegmentationConfig, without=shared)
    return "\n".join([*parts, *(_table(*of) for of in SWEEP)])


def _of(
    task: str, cls: type[Any], only: set[str] | None = None, without: Collection[str] = ()
) -> list[str]:
    """The tables of a task: its own keys, then each section's."""
    types = get_type_hints(cls)
    names = [
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in without and (only is None or field.name in only)
    ]
    plain = [name for name in names if not dataclasses.is_dataclass(types[name])]
    parts = [_table(task, "", cls, plain)] if plain else []
    return parts + [
        _table(f"{task}: `{name}`", name, types[name])
        for name in names
        if dataclasses.is_dataclass(types[name])
    ]


def _table(title: str, prefix: str, cls: type[Any], names: list[str] | None = None) -> str:
    said, lines = meanings(cls), []
    for field in dataclasses.fields(cls):
        if field.name == "options" or (names is not None and field.name not in names):
            continue
        key = f"{prefix}.{field.name}" if prefix else field.name
        lines.append(
            f"| `{key}` | {_default(field)} | {field.metadata.get('unit', '')} "
            f"| {said[field.name]}{_choices(field)} | {_changes(field)} |"
        )
    rows = "\n".join(
        ["| key | default | unit | meaning | |", "| --- | --- | --- | --- | --- |", *lines]
    )
    return f"## {title}\n\n{rows}\n"


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory() if callable(field.default_factory) else ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else "()"
    return f"`{value}`" if value not in ("", {}) else "''"


def _choices(field: dataclasses.Field[Any]) -> str:
    names = names_of(field)
    return f" One of {', '.join(f'`{name}`' for name in names)}." if names else ""


def _changes(field: dataclasses.Field[Any]) -> str:
    return ", ".join(name for name in ("grows", "evaluation") if field.metadata.get(name))


if __name__ == "__main__":
    print(document(), end="")
