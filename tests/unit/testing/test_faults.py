from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from streamserve.errors import ConfigurationError
from streamserve.kafka.calls import CALL_NAMES, Calls
from streamserve.kafka.errors import kafka_error
from streamserve.testing.faults import (
    EXIT_STATUS,
    FAULT_VARIABLE,
    NOTES_VARIABLE,
    Fault,
    FaultSwitch,
    from_environment,
    parse_faults,
)


def test_several_faults_are_read_from_one_text() -> None:
    text = "producer.flush:before:2:kill, consumer.poll:after:1:pause:0.5,producer.produce:after:3:raise=_FENCED"
    assert parse_faults(text) == [
        Fault("producer.flush", "before", 2, "kill"),
        Fault("consumer.poll", "after", 1, "pause", seconds=0.5),
        Fault("producer.produce", "after", 3, "raise", error="_FENCED"),
    ]


@pytest.mark.parametrize("call", CALL_NAMES)
def test_every_named_call_can_have_a_fault(call: str) -> None:
    assert parse_faults(f"{call}:after:1:exit") == [Fault(call, "after", 1, "exit")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("producer.flush", "write CALL"),
        ("producer.flush:during:1:kill", "write CALL"),
        ("producer.flush:before:1:explode", "'explode' is no action"),
        ("producer.flush:before:1:kill=_FENCED", "is no action"),
        ("producer.flush:before:first:kill", "is no number"),
        ("producer.flush:before:1:pause:long", "is no number"),
        ("producer.flush:before:0:kill", "ordinals count from 1"),
        ("producer.flush:before:1:pause:-1", "0 s or longer"),
        ("producer.send:before:1:kill", "there is no such call, only consumer.subscribe"),
        ("producer.flush:before:1:raise=NO_SUCH_ERROR", "Kafka has no error 'NO_SUCH_ERROR'"),
        ("producer.flush:before:1:raise=mro", "Kafka has no error 'mro'"),
    ],
)
def test_what_is_no_fault_is_refused_with_a_remedy(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_faults(text)


def test_a_fault_strikes_once_at_its_ordinal_of_its_side() -> None:
    calls = Calls(switch := FaultSwitch([Fault("producer.flush", "after", 2, "raise")]))
    done: list[int] = []
    calls("producer.flush", done.append, 1)
    with pytest.raises(KafkaException):
        calls("producer.flush", done.append, 2)
    calls("producer.flush", done.append, 3)
    assert done == [1, 2, 3]
    assert switch.counts == {("producer.flush", "before"): 3, ("producer.flush", "after"): 3}
    assert len(switch.struck) == 1


def test_a_raise_asks_for_an_abort_unless_the_outcome_is_open() -> None:
    def flags(name: str) -> tuple[bool, bool]:
        with pytest.raises(KafkaException) as raised:
            Fault("producer.flush", "after", 1, "raise", error=name).strike()
        error = kafka_error(raised.value)
        return error.txn_requires_abort(), error.retriable()

    assert flags("INVALID_PRODUCER_EPOCH") == (True, False)
    assert flags("_TIMED_OUT") == (False, True)


def test_a_pause_takes_its_time() -> None:
    started = time.monotonic()
    Fault("producer.flush", "after", 1, "pause", seconds=0.05).strike()
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize(("action", "status"), [("kill", -signal.SIGKILL), ("exit", EXIT_STATUS)])
def test_a_worker_process_takes_its_faults_from_the_environment(action: str, status: int) -> None:
    program = (
        "from streamserve.testing.faults import from_environment\n"
        "hook = from_environment()\n"
        "hook('consumer.poll', 'before'); hook('consumer.poll', 'after'); print('alive')"
    )
    environment = {**os.environ, FAULT_VARIABLE: f"consumer.poll:after:1:{action}"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (status, b"")


@pytest.mark.parametrize("text", ["", "  "])
def test_without_a_text_there_is_no_hook(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAULT_VARIABLE, text)
    assert from_environment() is None
    monkeypatch.delenv(FAULT_VARIABLE)
    assert from_environment() is None


@pytest.mark.parametrize(
    "text",
    ["producer.flush:before:2:kill", "consumer.poll:after:1:pause:0.5", "producer.flush:after:3:raise=_FENCED"],
)
def test_a_fault_is_written_as_it_is_read(text: str) -> None:
    assert [str(fault) for fault in parse_faults(text)] == [text]


def test_faults_are_noted_and_the_commit_that_follows_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "producer.commit_transaction"
    monkeypatch.setenv(FAULT_VARIABLE, f"{commit}:before:2:raise=_TIMED_OUT,{commit}:after:2:raise=_TIMED_OUT")
    monkeypatch.setenv(NOTES_VARIABLE, str(tmp_path / "notes"))
    calls = Calls(from_environment())
    calls(commit, str)
    for _ in range(2):
        with pytest.raises(KafkaException):
            calls(commit, str)
    calls(commit, str)
    calls(commit, str)
    told = [f"{commit}:{when}:2:raise=_TIMED_OUT" for when in ("before", "after")]
    assert (tmp_path / "notes").read_text().splitlines() == [*told, "settled 2"]


def test_a_fault_that_ends_the_process_is_noted_before(tmp_path: Path) -> None:
    program = "from streamserve.testing.faults import from_environment; from_environment()('consumer.poll', 'before')"
    fault = "consumer.poll:before:1:kill"
    environment = {**os.environ, FAULT_VARIABLE: fault, NOTES_VARIABLE: str(tmp_path / "notes")}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "notes").read_text() == f"{fault}\n"
