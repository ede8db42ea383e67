"""The audit of any table of predictions: `audit`, `audit_segmentation`, and the report that they
return.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairjax.auditing.classification import audit
    from fairjax.auditing.report import AuditReport
    from fairjax.auditing.segmentation import audit_segmentation

# pandas and jax take a second to import: each name is loaded from its module when it is first asked
# for.
_MODULES = {
    "audit": "classification",
    "audit_segmentation": "segmentation",
    "AuditReport": "report",
}
__all__ = ["AuditReport", "audit", "audit_segmentation"]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
