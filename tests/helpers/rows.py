"""Which test holds which row of a table: it says `@pytest.mark.row(TABLE, NAME, …)`, in literals, where TABLE is
metric, method, model or dataset."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


@functools.cache
def held(table: str) -> frozenset[str]:
    """The names of the rows that tests hold, read from the source of all tests."""
    return frozenset(
        name
        for path in TESTS.rglob("test_*.py")
        for of, *names in marks(path.read_text())
        if of == table
        for name in names
    )


def marks(source: str) -> Iterator[list[str]]:
    """The arguments of every `pytest.mark.row(…)`."""
    if "pytest.mark.row(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
            yield [ast.literal_eval(argument) for argument in node.args]
