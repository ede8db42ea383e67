"""What all tests share: compiled programs, and a cache of embeddings of their own."""

import os
from pathlib import Path

import pytest
from helpers import needs

os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
)  # of the processes that tests start: they use tests/helpers
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_configure(config):
    """Compiles quickly and badly, which is most of the time of small tests; slow tests compute."""
    if config.option.markexpr != "slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Sends the command line's cache to the test's folder."""
    monkeypatch.setenv("FAIRJAX_CACHE", str(tmp_path / "cache"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where torch and ../shared are at hand (`FAIRJAX_NO_SKIPS=1`, as in CI), a test that skips for
    want of them has failed.
    """
    report = (yield).get_result()
    wanting = any(words in str(report.longrepr) for words in (needs.LACKS, "empty parameter set"))
    if os.environ.get("FAIRJAX_NO_SKIPS") and report.skipped and wanting:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: FAIRJAX_NO_SKIPS forbids to skip: {report.longrepr}"
