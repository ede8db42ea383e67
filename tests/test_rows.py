"""Every row of the tables of methods, models and datasets is held by a test of its own.

A new row without one fails here by its name (a metric in tests/metrics/test_evaluate.py). A test says which rows it holds by the mark
`@pytest.mark.row(TABLE, NAME, …)`; models may have a recording of the original in its place.
"""

import pytest
from helpers import golden, needs
from helpers.rows import held

from fairjax.datasets.catalog import SPECS
from fairjax.models.zoo import MODELS
from fairjax.training.objectives import METHODS

TABLES = {"method": METHODS, "model": MODELS, "dataset": SPECS}
WHAT = {
    "method": "a closed form or another library's value (tests/training/test_objectives.py)",
    "model": "a recording of the original in golden, or a comparison with PyTorch",
    "dataset": "a small tree in its published layout (tests/datasets)",
}


@pytest.mark.parametrize(
    ("table", "name"), [(t, name) for t, rows in TABLES.items() for name in rows]
)
def test_every_row_is_held_by_a_test(table, name):
    if name in held(table):
        return
    if table == "model":
        if name in {recording.row.name for recording in golden.recordings()}:
            return
        if golden.root() == golden.SELECTED:
            needs.skip(f"../shared/golden, where a recording of {name} may be")
    pytest.fail(f"the {table} {name!r} has no test: give it {WHAT[table]}, and mark that "
                f"test @pytest.mark.row({table!r}, {name!r})")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_tests_hold_no_rows_that_are_not_there(table):
    assert held(table) <= set(TABLES[table])
