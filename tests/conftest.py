"""What all tests share: a cache of their own, so that nobody's embeddings are touched."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Sends embeddings and compiled programs of the command line to the test's folder."""
    monkeypatch.setenv("FAIRJAX_CACHE", str(tmp_path / "cache"))
