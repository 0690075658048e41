"""Pushes go to their reader in order; what cannot be pushed is named, and nothing else is held up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from streamserve.dataflow.planning.nodes import PushNode
from streamserve.dataflow.steps.pushes import PushStep, fields_of, push_all
from streamserve.errors import FeatureRowError, OutageError
from streamserve.features.memory import MemoryReader
from tests.unit.dataflow.fakes import batch_of


class Picky(MemoryReader):
    """Takes a batch whole or not at all, as readers do."""

    def __init__(self) -> None:
        super().__init__("s", ("n",), {}, {})
        self.pushed: list[Any] = []

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        assert push_source == "s"
        numbers = [row["n"] for row in rows]
        if "away" in numbers:
            raise OutageError("away")
        if None in numbers:
            raise FeatureRowError("no key")
        self.pushed += numbers


class Model(BaseModel):
    n: int = 1


class Struct(msgspec.Struct):
    n: int = 1


@dataclass
class Data:
    n: int = 1


@pytest.mark.parametrize("event", [Model(), Struct(), Data(), {"n": 1}])
def test_events_of_every_type_have_fields(event: object) -> None:
    assert fields_of(event) == {"n": 1}


def test_just_the_rows_at_fault_are_left_out() -> None:
    reader = Picky()
    errors = push_all(reader, "s", [{"n": n if n not in {3, 7} else None} for n in range(10)])
    assert sorted(errors) == [3, 7]
    assert reader.pushed == [0, 1, 2, 4, 5, 6, 8, 9]
    assert push_all(reader, "s", []) == {}


def test_an_outage_is_nobodys_fault() -> None:
    with pytest.raises(OutageError):
        push_all(Picky(), "s", [{"n": 1}, {"n": "away"}])


def test_the_step_hands_on_its_batch_and_keeps_failures_for_their_branch() -> None:
    reader = Picky()
    step = PushStep([(PushNode("in", "s"), reader), (PushNode("other", "s"), reader)])
    batch = batch_of([{"n": 1}, {"n": None}])
    assert step(batch) is batch
    [output] = step.take_failures()
    assert (output.step, [failure.record.offset() for failure in output.failures]) == ("push:s", [1])
    assert step.take_failures() == []
    assert reader.pushed == [1]
