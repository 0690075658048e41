"""What becomes of records at fault, now and when the broker refused what they came to before."""

from __future__ import annotations

from collections import Counter

import pytest
from typing_extensions import override

from streamserve.dataflow.batch import Failure, InputRows, OutputColumns, StepOutput, coordinates_of
from streamserve.dataflow.planning.nodes import OnError
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.errors import ConfigurationError, CrashError, OversizeError, Reject
from streamserve.kafka.transaction import Quarantine
from streamserve.observer import Observer
from streamserve.records import Coordinates, Emission, Origin
from tests.unit.dataflow.fakes import FakeRecord, batch_of


class Counts(Observer):
    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str, str]] = Counter()

    @override
    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        self.seen["dead", step, reason] += records

    @override
    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        self.seen["skipped", step, reason] += records


def policy_of(on_error: OnError, quarantine: Quarantine | None = None) -> tuple[FailurePolicy, Counts]:
    counts = Counts()
    return FailurePolicy("dead", {"a": on_error}, quarantine or Quarantine(), counts), counts


def output_of(*offsets: int) -> StepOutput:
    records = [FakeRecord(b"bytes", b"key", offset, 2, "in", 7, [("own", b"1")]) for offset in offsets]
    return StepOutput("a", failures=[Failure(record, Reject("no")) for record in records])


def test_each_failure_is_one_dead_letter_with_its_bytes_and_coordinates() -> None:
    policy, counts = policy_of("dead-letter")
    output = policy.settle(output_of(4, 5))
    assert output.failures == []
    assert [origin for _, origin in output.messages] == [Coordinates("in", 2, 4), Coordinates("in", 2, 5)]
    letter, _ = output.messages[0]
    assert (letter.topic, letter.key, letter.value) == ("dead", b"key", b"bytes")
    assert dict(letter.headers) == {
        "step": b"a",
        "reason": b"rejected",
        "error": b"Reject",
        "message": b"no",
        "source-topic": b"in",
        "source-partition": b"2",
        "source-offset": b"4",
        "source-timestamp": b"7",
        "original-own": b"1",
    }
    assert counts.seen == {("dead", "a", "rejected"): 2}


def test_skip_drops_and_counts() -> None:
    policy, counts = policy_of("skip")
    assert policy.settle(output_of(4, 5)).messages == []
    assert counts.seen == {("skipped", "a", "rejected"): 2}


def test_stop_names_the_first_record() -> None:
    policy, _ = policy_of("stop")
    with pytest.raises(ConfigurationError, match=r"step 'a' stops at in\[2\]@4: no"):
        policy.settle(output_of(4, 5))


def test_everything_that_a_refused_input_came_to_is_withheld_from_its_step_alone() -> None:
    at = Coordinates("in", 0, 1)
    quarantine = Quarantine(refused={Origin("a", at): OversizeError("too large")})
    policy, _ = policy_of("dead-letter", quarantine)
    for step, refused in (("a", True), ("b", False)):
        origins = [Coordinates("in", 0, 0), at]
        columns = OutputColumns("out", [b"0", b"1"], [None, None], InputRows(batch_of("xy"), range(2)))
        messages = [(Emission("side", b"m"), origin) for origin in origins]
        output = policy.settle(StepOutput(step, [columns], [*messages]), batch_of("xy"))
        assert [list(columns.values) for columns in output.columns] == [[b"0"] if refused else [b"0", b"1"]]
        assert [emission.topic for emission, _ in output.messages] == (
            ["side", "dead"] if refused else ["side", "side"]
        )


def test_a_batch_is_sifted_for_the_step_that_a_record_fails_only() -> None:
    quarantine = Quarantine()
    policy, _ = policy_of("dead-letter", quarantine)
    batch = batch_of([1, 2, 3])
    assert policy.sifted("a", batch) is batch
    [bad] = [coordinates_of(record) for record in batch.records][1:2]
    quarantine.refused[Origin("a", bad)] = CrashError("it ends the process")
    assert policy.sifted("a", batch).values == [1, 3]
    assert len(policy.sifted("b", batch)) == 3
    output = policy.settle(StepOutput("a"), batch)
    assert [origin for _, origin in output.messages] == [bad]
    assert dict(output.messages[0][0].headers)["reason"] == b"crashed"
