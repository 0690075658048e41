from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamserve.codecs.resume import map_resuming


@given(st.lists(st.integers(-2, 2)))
def test_every_item_has_its_result_or_its_mended_fault_in_place(numbers: list[int]) -> None:
    calls: list[int] = []

    def invert(number: int) -> float:
        calls.append(number)
        return 1 / number

    mended = map_resuming(invert, numbers, lambda index, error: (numbers[index], type(error)))
    assert mended == [1 / number if number else (0, ZeroDivisionError) for number in numbers]
    assert calls == numbers
