"""fairjax: how fairly do medical-imaging foundation models treat the people in the pictures?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairjax import (
        datasets,
        embeddings,
        metrics,
        models,
        report,
        segmentation,
        statistics,
        training,
    )
    from fairjax.auditing import AuditReport, audit, audit_segmentation

__version__ = "0.1.0"

# jax and pandas take seconds to import: a name is loaded when it is first asked for.
_FUNCTIONS = ("AuditReport", "audit", "audit_segmentation")
_ROOMS = (
    "datasets",
    "embeddings",
    "metrics",
    "models",
    "report",
    "segmentation",
    "statistics",
    "training",
)
__all__ = [
    "AuditReport",
    "audit",
    "audit_segmentation",
    "datasets",
    "embeddings",
    "metrics",
    "models",
    "report",
    "segmentation",
    "statistics",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("fairjax.auditing"), name)
    if name in _ROOMS:
        return importlib.import_module(f"fairjax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
