from __future__ import annotations

import pytest
from helpers.report_data import make_report_data


@pytest.fixture(scope="session")
def data():
    """A report on two attributes: a gap by sex, and none by age."""
    return make_report_data()
