"""What a fresh machine lacks, and some tests need: they skip there, and say so.

Where `FAIRJAX_NO_SKIPS` is set, as in CI's second environment, such a skip is a failure (tests/conftest.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

LACKS = "this machine lacks"
SHARED = Path(__file__).parents[3] / "shared"
DATA = Path(os.environ.get("FAIRJAX_DATA", SHARED / "data"))


def skip(thing: str) -> NoReturn:
    """Skips the test for want of a thing."""
    pytest.skip(f"{LACKS} {thing}")


def torch() -> ModuleType:
    """PyTorch, which nothing but the converters uses."""
    return pytest.importorskip("torch", reason=f"{LACKS} torch")


def data(path: str) -> Path:
    """A file or folder of real images or weights (`FAIRJAX_DATA`, or ../shared/data)."""
    return DATA / path if (DATA / path).exists() else skip(f"the real data {DATA / path}")
