from .data import ReportData
from .method_tables import console_methods
from .page import write
from .tables import console_table, summary_table

__all__ = ["ReportData", "console_methods", "console_table", "summary_table", "write"]
