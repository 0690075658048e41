from __future__ import annotations

import re
from pathlib import Path

import pytest

import streamserve
from streamserve.kafka.calls import CALL_NAMES, Calls, When

CALL = re.compile(r'\b_?calls\(\s*(?:#.*\s+)?"([a-z]+\.[a-z_]+)"')


def test_the_names_are_those_of_the_calls_in_the_engine() -> None:
    """A call without a name in the list would be no crash point, a name without a call no test."""
    package = Path(streamserve.__file__).parent
    sources = [path.read_text() for room in ("kafka", "dataflow") for path in (package / room).rglob("*.py")]
    assert {name for source in sources for name in CALL.findall(source)} == set(CALL_NAMES)


def test_a_call_that_raises_has_no_after() -> None:
    seen: list[tuple[str, When]] = []
    calls = Calls(lambda name, when: seen.append((name, when)))
    with pytest.raises(ZeroDivisionError):
        calls("producer.flush", lambda: 1 // 0)
    assert seen == [("producer.flush", "before")]


def test_without_a_hook_a_call_is_just_made() -> None:
    assert Calls()("producer.flush", int, "12", base=3) == 5
