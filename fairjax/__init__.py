"""fairjax: how fairly do medical-imaging foundation models treat the people in the pictures?"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "audit":
        return importlib.import_module("fairjax.audit")  # the module is the function
    if name == "audit_segmentation":
        return importlib.import_module("fairjax.audit").audit_segmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
