"""Batch agents: halved around what fails, one result per event, and nothing asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve import Reject
from streamserve.codecs.json import codec_for
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import StepOutput
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.steps.agents import BatchAgentStep, Side
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import ConfigurationError, OutageError
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import Observer
from tests.unit.dataflow.fakes import batch_of


class Result(msgspec.Struct, frozen=True):
    n: int


def step_of(function: Callable[[Sequence[Any]], Any], max_size: int = 4096) -> BatchAgentStep:
    def call(values: Sequence[Any], _: Callable[[], Sequence[Any]]) -> Any:
        return function(values)

    node = AgentNode("a", "batch", ("in",), "out", call, max_size=max_size)
    writer = TopicWriter("out", codec_for(Result), KeyCodec("n"))
    outcomes = OutcomeWriter("a", ["out"], {"out": writer})
    policy = FailurePolicy("dead", {}, Quarantine(), Observer())
    return BatchAgentStep(node, lambda batch, row: batch.records[row], outcomes, Side([], [], None), policy)


def written(output: StepOutput) -> list[int]:
    return [msgspec.json.decode(value or b"")["n"] for columns in output.columns for value in columns.values]


def failed(output: StepOutput) -> dict[int, str]:
    return {failure.record.offset() or 0: type(failure.error).__name__ for failure in output.failures}


@given(st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)), st.integers(1, 70))
def test_exactly_the_events_at_fault_are_failures(bad: set[int], rejected: set[int], max_size: int) -> None:
    sizes: list[int] = []

    def function(values: Sequence[int]) -> list[Result | Reject | None]:
        sizes.append(len(values))
        if bad & set(values):
            raise ValueError("secret")
        return [Reject("no") if n in rejected else Result(n) if n % 2 else None for n in values]

    output = step_of(function, max_size)(batch_of(range(60)))
    assert failed(output) == dict.fromkeys(rejected, "Reject") | dict.fromkeys(bad, "AgentError")
    assert written(output) == [n for n in range(1, 60, 2) if n not in bad | rejected]
    assert max(sizes) <= max_size
    assert not any("secret" in str(failure.error) for failure in output.failures)


@pytest.mark.parametrize(
    ("results", "said"),
    [([Result(1)], "returned 1 results for 2"), (None, "returned a NoneType"), (iter(()), "returned a tuple_iterator")],
)
def test_other_than_one_result_per_event_is_a_mistake_of_the_app(results: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        step_of(lambda _: results)(batch_of([1, 2]))


def test_an_outage_is_not_halved() -> None:
    calls: list[int] = []

    def away(values: Sequence[int]) -> list[Result]:
        calls.append(len(values))
        raise OutageError("away")

    with pytest.raises(OutageError):
        step_of(away)(batch_of(range(8)))
    assert calls == [8]


def test_a_result_that_its_topic_refuses_is_its_events_failure() -> None:
    output = step_of(lambda values: [Result(n) if n != 1 else "text" for n in values])(batch_of(range(3)))
    assert failed(output) == {1: "EncodeError"}
    assert written(output) == [0, 2]
