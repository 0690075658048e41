"""Logs say what changed, at a bounded rate, without secrets or payloads."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamserve.clock import ManualClock
from streamserve.ops.health import Liveness
from streamserve.ops.logging import MASK, LoggingObserver, configure_logging

EPOCH = "1970-01-01T00:00:00+00:00"


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def log(self, level: int, event: str, /, **fields: object) -> None:
        self.lines.append((logging.getLevelName(level).lower(), event, fields))


@pytest.fixture
def log() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def observer(log: Recorder, clock: ManualClock) -> LoggingObserver:
    return LoggingObserver(log, clock=clock)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_dead_letters_are_told_once_a_second_and_reason(
    observer: LoggingObserver, log: Recorder, clock: ManualClock
) -> None:
    for _ in range(1000):
        observer.dead_lettered("predict", "agent", 3)
        observer.dead_lettered("decode", "decode", 1)
        observer.progress()
        clock.advance(0.001953125)
    observer.close()
    agent = [fields["records"] for _, _, fields in log.lines if fields["reason"] == "agent"]
    assert agent == [3, 1536, 1461]
    assert [level for level, *_ in log.lines] == ["warning"] * 6


def test_a_dead_letter_is_told_with_the_last_message(observer: LoggingObserver, log: Recorder) -> None:
    observer.dead_lettered("predict", "agent", 1, "agent 'predict' raised ValueError in line 7")
    [(_, _, fields)] = log.lines
    assert fields["message"] == "agent 'predict' raised ValueError in line 7"


def test_what_a_recovery_has_told_is_not_told_again_as_unreadiness(observer: LoggingObserver, log: Recorder) -> None:
    observer.aborted("BrokerUnavailable", "no answer")
    observer.ready(False, "no answer")
    observer.ready(False, "waiting for partitions")
    assert [event for _, event, _ in log.lines] == ["recovering", "not ready"]


def test_a_sum_is_told_by_later_progress(observer: LoggingObserver, log: Recorder, clock: ManualClock) -> None:
    observer.aborted("TransactionAborted", "why")
    observer.aborted("TransactionAborted", "why")
    observer.aborted("TransactionAborted", "why")
    observer.progress()
    assert log.lines == [("warning", "recovering", {"reason": "TransactionAborted", "message": "why"})]
    clock.advance(1)
    observer.progress()
    observer.progress()
    assert log.lines[1:] == [("warning", "recovering", {"reason": "TransactionAborted", "message": "why", "times": 2})]


def test_all_that_was_restored_is_told_before_readiness(observer: LoggingObserver, log: Recorder) -> None:
    for group in ("predict/0", "predict/1", "predict/2"):
        observer.restored(group, 0.5)
    observer.ready(True, "")
    assert [(event, fields.get("groups")) for _, event, fields in log.lines] == [
        ("state restored", 1),
        ("state restored", 2),
        ("ready", None),
    ]


def test_state_changes_are_told(observer: LoggingObserver, log: Recorder) -> None:
    observer.opening_features("delay_v1")
    observer.joining("flights")
    observer.assigned({"flights": [1, 0]})
    observer.restored("predict/0", 0.12345)
    observer.state_discarded("monitor of delay", 1, ("ADWIN on gust: new or configured differently",))
    observer.model_loaded("delay", "2", "0123456789abcdef", 256)
    observer.drift_alarm("delay", "gust", "ADWIN", 3, 0)
    observer.features_unlogged("delay_v1", 2)
    observer.ready(False, "Feast is away")
    observer.ready(True, "")
    assert log.lines == [
        ("info", "opening features", {"service": "delay_v1"}),
        ("info", "joining group", {"group": "flights"}),
        ("info", "partitions assigned", {"partitions": {"flights": [0, 1]}}),
        ("info", "state restored", {"group": "predict/0", "seconds": 0.123, "groups": 1}),
        (
            "warning",
            "state discarded",
            {
                "state": "monitor of delay",
                "partition": 1,
                "reasons": ["ADWIN on gust: new or configured differently"],
                "groups": 1,
            },
        ),
        ("info", "model loaded", {"model": "delay", "version": "2", "sha256": "0123456789ab", "batch_size": 256}),
        (
            "warning",
            "drift alarm",
            {"model": "delay", "column": "gust", "detector": "ADWIN", "partition": 3, "event_time": EPOCH},
        ),
        ("warning", "feature rows not logged", {"service": "delay_v1", "rows": 2}),
        ("info", "not ready", {"why": "Feast is away"}),
        ("info", "ready", {}),
    ]


def test_a_stall_is_told_with_its_stack(observer: LoggingObserver, log: Recorder) -> None:
    observer.stalled(Liveness(healthy=False, seconds=61, step="step predict", stack=("model.py:3 in run",)))
    ((level, event, fields),) = log.lines
    assert (level, event, fields["stack"]) == ("error", "stalled", ["model.py:3 in run"])


def test_records_and_commits_are_not_told(observer: LoggingObserver, log: Recorder) -> None:
    observer.polled("flights", 5)
    observer.committed(5, 0.1)
    observer.close()
    assert log.lines == []


def test_a_file_gets_json_lines_in_utc(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    structlog.get_logger("streamserve").info("started", app="flights")
    logging.getLogger("feast").info("made a table, as always")
    logging.getLogger("feast").warning("slow %s", "store")
    own, foreign = lines(stream)
    assert (own["event"], own["app"], own["level"], own["logger"]) == ("started", "flights", "info", "streamserve")
    assert own["timestamp"].endswith("Z")
    assert (foreign["event"], foreign["level"], foreign["logger"]) == ("slow store", "warning", "feast")


def test_a_terminal_gets_text(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging(stream=stream)
    structlog.get_logger("streamserve").info("started", app="flights")
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_level_is_kept(stream: io.StringIO) -> None:
    configure_logging(stream=stream, level="warning")
    structlog.get_logger("streamserve").info("quiet")
    logging.getLogger("feast").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("json_lines", [True, False])
def test_secrets_payloads_and_local_variables_never_show(stream: io.StringIO, json_lines: bool) -> None:
    configure_logging(stream=stream, json=json_lines)
    canary = "hunter2"

    def fail(sasl_password: str) -> None:
        raise ValueError(len(sasl_password))

    kafka = {
        "sasl.password": canary,
        "ssl.key.pem": canary,
        "sasl.username": canary,
        "ssl.key.location": "/etc/key",
        "oauthbearer.client.secret": canary,
    }
    try:
        fail(canary)
    except ValueError:
        structlog.get_logger("streamserve").exception(
            "failed", kafka=kafka, value=canary.encode(), list=[canary.encode()]
        )
    text = stream.getvalue()
    assert canary not in text
    assert MASK in text
    assert "<7 bytes>" in text
    assert "/etc/key" in text
    assert "in fail" in text
