"""Heads on cached embeddings, trained by the thousand in one compiled program: `sweep(data, runs, config, folder)`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("sweep", "Sweep"):
        from fairjax.training import sweep

        return getattr(sweep, name)
    if name in ("ProbeConfig", "ProbeData"):
        from fairjax.training import probe

        return getattr(probe, name)
    if name in ("Run", "expand"):
        from fairjax.training import runs

        return getattr(runs, name)
    raise AttributeError(f"module 'fairjax.training' has no attribute {name!r}")
