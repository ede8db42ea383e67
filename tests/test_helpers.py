"""The helpers of the tests themselves."""

import numpy as np
from helpers.golden import relative_error
from helpers.rows import marks


def test_an_output_near_zero_is_compared_absolutely_and_a_large_one_relatively():
    assert relative_error([1.0 + 1e-5, 0.0], [1.0, 0.0]) > 0.9e-5
    assert relative_error([2e-7, 1e-7], [1e-7, 2e-7]) < 1e-5
    assert relative_error([2e-5, 1e-5], [1e-5, 2e-5]) > 1e-5
    assert relative_error(np.full(9, 101.0), np.full(9, 100.0)) == 1e-2


def test_rows_that_a_test_holds_are_read_from_its_source():
    source = "@pytest.mark.row('model', 'a', 'b')\n@pytest.mark.slow\ndef test_it(): ...\n"
    assert list(marks(source)) == [["model", "a", "b"]]
