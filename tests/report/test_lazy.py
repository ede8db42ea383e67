"""Importing the package costs nothing until something is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fairjax.report


def test_import_loads_neither_pandas_nor_matplotlib():
    code = """
import sys
import fairjax.report
assert not {"pandas", "matplotlib", "jinja2", "numpy"} & set(sys.modules), sorted(sys.modules)
from fairjax.report import ReportData
assert not {"pandas", "matplotlib", "jinja2"} & set(sys.modules)
from fairjax.report import write
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_others_do_not():
    assert all(callable(getattr(fairjax.report, name)) for name in fairjax.report.__all__)
    with pytest.raises(AttributeError, match="attribute nothing"):
        fairjax.report.nothing  # noqa: B018
