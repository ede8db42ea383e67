"""The audit of any table of predictions: `fairjax.audit(y_true, y_score, groups)`, `python -m fairjax.audit TABLE …`.

The module can be called: `fairjax.audit(…)` is `fairjax.audit.audit(…)`, whose documentation says what it takes.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairjax.audit.classification import audit
    from fairjax.audit.report import AuditReport
    from fairjax.audit.segmentation import audit_segmentation

# pandas and jax take a second to import: each name is loaded from its module when it is first asked for.
_MODULES = {"audit": "classification", "audit_segmentation": "segmentation", "AuditReport": "report"}
__all__ = ["AuditReport", "audit", "audit_segmentation"]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


class _CallableModule(types.ModuleType):
    """The package is a function, too: importing a part of it would otherwise hide the function of its name."""

    def __call__(self, *args, **options):
        return __getattr__("audit")(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
