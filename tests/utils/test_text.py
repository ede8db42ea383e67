from fairjax.utils.text import aligned, columns_of, widths_of

ROWS = [["name", "n"], ["東京", "7"], ["a", "1,234"]]


def test_columns_are_as_wide_as_their_widest_text():
    assert aligned(ROWS) == ["name  n", "東京  7", "a     1,234"]
    assert widths_of(ROWS) == [4, 5]


def test_numbers_are_on_the_right():
    lines = aligned(ROWS, numeric=True, gap=" ")
    assert lines == ["name     n", "東京     7", "a    1,234"]
    assert {columns_of(line) for line in lines} == {10}


def test_columns_without_a_width_are_left_out():
    assert aligned(ROWS, widths=[5]) == ["name", "東京", "a"]
