"""Tables, figures and the HTML report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairjax.report.data import ReportData
    from fairjax.report.method_tables import console_methods
    from fairjax.report.page import write
    from fairjax.report.tables import console_table, summary_table

# pandas and matplotlib take a second to import: each name is loaded from its module when it is
# first asked for.
_MODULES = {
    "ReportData": "data",
    "write": "page",
    "console_table": "tables",
    "summary_table": "tables",
}
_MODULES |= {"console_methods": "method_tables"}
__all__ = ["ReportData", "console_methods", "console_table", "summary_table", "write"]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
