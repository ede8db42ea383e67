"""What all tests share: compiled programs, and a cache of embeddings of their own, so that nobody's is touched."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Sends the command line's cache to the test's folder."""
    monkeypatch.setenv("FAIRJAX_CACHE", str(tmp_path / "cache"))
