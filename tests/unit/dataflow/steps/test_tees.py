"""Copies of predictions: what they carry, and that none is forgotten."""

from __future__ import annotations

import pytest

from streamserve.dataflow.arriving.channels import headers_from
from streamserve.dataflow.batch import InputRows, OutputColumns, StepOutput
from streamserve.dataflow.lineage import HEADER, UNKNOWN, Lineage
from streamserve.dataflow.planning.nodes import TeeNode
from streamserve.dataflow.steps.tees import Tees
from streamserve.errors import ConfigurationError
from streamserve.records import Coordinates, Emission
from tests.unit.dataflow.fakes import batch_of

TEE = TeeNode("delays", "flights", "copies")
LINEAGE = Lineage("delay", "3", "champion")
OWN = ((HEADER, LINEAGE.encode()),)


def tees(*unseen: str) -> Tees:
    return Tees("predict", [TEE], unseen, lambda: LINEAGE)


def test_a_copy_has_the_time_and_partition_of_its_input_and_the_models_name() -> None:
    batch = batch_of("abc", partitions=[0, 0, 2], times_ms=[500, 0, 700])
    columns = OutputColumns("delays", [b"1", b"2", b"3"], [b"x", None, b"z"], InputRows(batch, [0, 1, 2]))
    other = OutputColumns("others", [b"1"], [None], InputRows(batch, [0]))
    output = tees()(StepOutput("predict", [columns, other]), batch)
    assert output.columns[:2] == [columns, other]
    [copy] = output.columns[2:]
    assert (copy.topic, copy.values, copy.keys) == ("copies", columns.values, columns.keys)
    assert list(copy.timestamps_ms) == [500, 1, 700]
    assert [tuple(own) for own in copy.headers] == [headers_from(partition, OWN) for partition in (0, 0, 2)]
    [rest] = [copy.without({Coordinates("in", 0, 0)})]
    assert (rest.values, rest.timestamps_ms, len(rest.headers)) == ([b"2", b"3"], [1, 700], 2)


def test_what_is_sent_is_copied_too() -> None:
    batch = batch_of("ab", times_ms=[500, 600])
    sent = [(Emission("delays", b"1", b"k"), Coordinates("in", 0, 1)), (Emission("dead", b"2"), None)]
    output = tees()(StepOutput("predict", messages=[*sent]), batch)
    copy = Emission("copies", b"1", b"k", headers_from(0, OWN), timestamp_ms=600)
    assert output.messages == [*sent, (copy, Coordinates("in", 0, 1))]


def test_predictions_that_nobody_expected_stop_the_app() -> None:
    batch = batch_of("a")
    output = StepOutput("predict", messages=[(Emission("late", b"1"), Coordinates("in", 0, 0))])
    with pytest.raises(ConfigurationError, match="agent 'predict' writes to topic 'late'"):
        tees("late")(output, batch)


def test_a_header_that_is_no_lineage_tells_nothing() -> None:
    assert Lineage.parse(b"\xff\x1f1") == UNKNOWN
