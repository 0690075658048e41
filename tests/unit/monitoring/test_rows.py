from __future__ import annotations

import numpy as np
import pytest

from streamserve.monitoring.rows import Layout, Rows

LAYOUT = Layout(("x",), ("origin",))


def test_missing_and_non_finite_numbers_become_nan() -> None:
    rows = LAYOUT.rows({"x": [1.5, None, float("inf"), True], "origin": ["EWR"] * 4}, [0, 1, 2, 3])
    np.testing.assert_array_equal(rows.numbers, [[1.5, np.nan, np.nan, 1.0]])


def test_lists_are_read_as_numpy_reads_them() -> None:
    values = [True, 2, 2.5, -(2**60), np.float32(0.1), np.int64(7)]
    rows = Layout(("x",), ()).rows({"x": values}, list(range(6)))
    assert rows.numbers.tolist() == [np.array(values, np.float64).tolist()]
    assert rows.times.tolist() == [0, 1, 2, 3, 4, 5]


def test_texts_of_any_type_are_taken_as_text_and_nan_as_missing() -> None:
    rows = LAYOUT.rows({"x": [0] * 4, "origin": ["EWR", None, float("nan"), 7]}, [0, 1, 2, 3])
    assert rows.texts == (["EWR", None, None, "7"],)


def test_arrays_are_taken_like_lists() -> None:
    lists = LAYOUT.rows({"x": [1, 2], "origin": ["EWR", None]}, [0, 1])
    arrays = LAYOUT.rows({"x": np.array([1, 2]), "origin": np.array(["EWR", None], dtype=object)}, np.array([0, 1]))
    np.testing.assert_array_equal(lists.numbers, arrays.numbers)
    assert lists.texts == arrays.texts


def test_changing_an_array_afterwards_does_not_change_the_rows() -> None:
    times, values = np.array([1]), np.array([2.0])
    rows = LAYOUT.rows({"x": values, "origin": ["EWR"]}, times)
    times[0] = values[0] = 9
    assert (rows.times[0], rows.numbers[0, 0]) == (1, 2.0)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="column 'origin' is monitored"):
        LAYOUT.rows({"x": [1]}, [0])


def test_a_column_of_another_length_is_named() -> None:
    with pytest.raises(ValueError, match="column 'x' has 1 values for 2 event times"):
        LAYOUT.rows({"x": [1], "origin": ["EWR", "JFK"]}, [0, 1])


def test_text_in_a_numeric_column_is_refused_without_quoting_it() -> None:
    with pytest.raises(ValueError, match="column 'x'") as caught:
        LAYOUT.rows({"x": ["secret"], "origin": ["EWR"]}, [0])
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_joining_the_cuts_gives_the_rows_again() -> None:
    rows = LAYOUT.rows({"x": [1, 2, 3], "origin": ["a", "b", "c"]}, [7, 8, 9])
    again = Rows.join([rows.cut(0, 1), rows.cut(1)])
    np.testing.assert_array_equal(again.numbers, rows.numbers)
    np.testing.assert_array_equal(again.times, rows.times)
    assert again.texts == rows.texts
