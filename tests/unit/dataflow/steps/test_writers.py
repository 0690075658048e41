"""Outcomes become messages in the input's order; one result that does not encode takes its whole event along."""

from __future__ import annotations

import msgspec
import pytest

from streamserve.codecs.json import codec_for
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.driving.driver import Outcomes
from streamserve.dataflow.driving.effects import Send
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import EncodeError
from streamserve.records import Coordinates
from tests.unit.dataflow.fakes import batch_of


class Result(msgspec.Struct, frozen=True):
    n: int
    key: object = "k"


def key_of(result: Result) -> str:
    if result.n < 0:
        raise ValueError(result.n)
    return str(result.n)


OUT = TopicWriter("out", codec_for(Result), KeyCodec(key_of))
SIDE = TopicWriter("side", codec_for(Result), KeyCodec(key_of))
WRITER = OutcomeWriter("a", ["out"], {"out": OUT, "side": SIDE})


def send(value: object, *, topic: str = "side", key: object = None) -> Send:
    return Send(topic, value, key, 5, (("h", b"1"),))


def test_outputs_keep_the_inputs_order_and_name_their_inputs() -> None:
    outcomes = Outcomes(3)
    outcomes.outputs = [[Result(1), Result(2)], None, [Result(3)]]
    [columns] = WRITER.write(batch_of("abc"), outcomes).columns
    assert columns.keys == [b"1", b"2", b"3"]
    assert columns.origins() == [Coordinates("in", 0, 0), Coordinates("in", 0, 0), Coordinates("in", 0, 2)]
    [rest] = [columns.without({Coordinates("in", 0, 0)})]
    assert (rest.keys, rest.origins()) == ([b"3"], [Coordinates("in", 0, 2)])


@pytest.mark.parametrize("wrong", ["text", Result(-1), object()])
def test_an_event_with_one_wrong_output_leaves_nothing_but_its_failure(wrong: object) -> None:
    outcomes = Outcomes(2)
    outcomes.outputs = [[Result(1), wrong], [Result(2)]]
    outcomes.sends = {0: [send(Result(7))]}
    output = WRITER.write(batch_of("ab"), outcomes)
    assert [columns.keys for columns in output.columns] == [[b"2"]]
    assert [failure.record.offset() for failure in output.failures] == [0]
    assert output.messages == []


@pytest.mark.parametrize("wrong", [send("text"), send(Result(1), key=1.5), send(Result(1), topic="foreign")])
def test_an_event_with_one_wrong_send_leaves_nothing_but_its_failure(wrong: Send) -> None:
    outcomes = Outcomes(1)
    outcomes.outputs = [[Result(1)]]
    outcomes.sends = {0: [send(Result(1)), wrong]}
    output = WRITER.write(batch_of("a"), outcomes)
    assert (output.columns, output.messages) == ([], [])
    assert [type(failure.error) for failure in output.failures] == [EncodeError]


def test_a_send_has_its_own_key_time_and_headers_or_the_topics_key() -> None:
    outcomes = Outcomes(1)
    outcomes.sends = {0: [send(Result(1)), send(Result(2), key="mine")]}
    output = WRITER.write(batch_of("a"), outcomes)
    emissions = [emission for emission, _ in output.messages]
    assert [emission.key for emission in emissions] == [b"1", b"mine"]
    assert {(emission.timestamp_ms, emission.headers) for emission in emissions} == {(5, (("h", b"1"),))}
    assert {origin for _, origin in output.messages} == {Coordinates("in", 0, 0)}
