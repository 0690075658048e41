from __future__ import annotations

import msgspec
import pytest

from streamserve.errors import ConfigurationError
from streamserve.monitoring.monitor import GroupMonitor
from streamserve.monitoring.plan import MonitorPlan
from streamserve.monitoring.snapshots import FORMAT, GroupState, read_state, write_state

PLAN = MonitorPlan("delay", {"x": float}, window_ms=1_000)


def make_state() -> GroupState:
    monitor = GroupMonitor(PLAN, partition=0, baselines=lambda _version: {})
    monitor.update({"x": [1.0, None]}, [1, 2], "1")
    state = read_state(monitor.snapshot())
    assert state is not None
    return state


def restore(data: bytes) -> GroupMonitor:
    return GroupMonitor.restore(data, PLAN, partition=0, baselines=lambda _version: {})


def test_state_is_read_back_as_written() -> None:
    state = make_state()
    assert read_state(write_state(state)) == state


def test_state_of_another_format_starts_afresh() -> None:
    data = msgspec.msgpack.encode({"format": FORMAT + 1, "state": {"unknown": "to us"}})
    assert read_state(data) is None
    monitor = restore(data)
    assert (monitor.version, monitor.discarded) == (
        "",
        ("everything: written for another model or in another format",),
    )


def test_arrays_that_do_not_fit_the_columns_are_refused() -> None:
    state = make_state()
    assert state.rows is not None
    torn = msgspec.structs.replace(state, rows=msgspec.structs.replace(state.rows, numbers=b"\0" * 8))
    with pytest.raises(ConfigurationError, match="monitoring state cannot be read"):
        restore(write_state(torn))


def test_messages_that_are_none_of_ours_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="monitoring state cannot be read"):
        restore(write_state(msgspec.structs.replace(make_state(), messages=b'[{"kind": "other"}]')))
