"""Telling all workers of an app to pause or to go on, through its control topic."""

from __future__ import annotations

from dataclasses import dataclass

from streamserve.clock import Clock, SystemClock
from streamserve.errors import BrokerUnavailable
from streamserve.kafka.admin import Admin, TopicSpec, compacted_config
from streamserve.kafka.calls import Calls
from streamserve.kafka.control import RUN_KEY, ControlReader, RunState, control_topic
from streamserve.kafka.offsets import GroupOffsets
from streamserve.kafka.sending import send_records
from streamserve.records import to_datetime
from streamserve.settings import Settings

__all__ = ["AppStatus", "pause", "resume", "run_state", "status"]

_READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AppStatus:
    """What an app is told, and which workers are members of its group: by instance name, whatever they do."""

    state: RunState
    members: list[str]


def pause(app: str, settings: Settings, *, reason: str = "", clock: Clock | None = None) -> RunState:
    """Tell all workers of ``app``, also those that start later, to process nothing more; return what they are told.

    The topic is made if it is missing. Workers commit what is open first; they keep membership and partitions.

    Raises:
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses the topic or the record.
    """
    return _tell(app, settings, RunState(True, _now(clock), reason))


def resume(app: str, settings: Settings, *, clock: Clock | None = None) -> RunState:
    """Tell all workers of ``app`` to process again; errors as ``pause``."""
    return _tell(app, settings, RunState(False, _now(clock)))


def _tell(app: str, settings: Settings, state: RunState) -> RunState:
    topic = control_topic(app)
    Admin(settings).create([TopicSpec(topic, 1, compacted_config(), "control")], partitions=1)
    send_records(settings, topic, [(RUN_KEY, state.encode())])
    return state


def _now(clock: Clock | None) -> str:
    return to_datetime((clock or SystemClock()).now_ms()).isoformat(timespec="seconds")


def run_state(app: str, settings: Settings) -> RunState:
    """Return what the workers of ``app`` are told now.

    Raises:
        BrokerUnavailable: no broker answers.
    """
    clock = SystemClock()
    reader = ControlReader(app, settings, Calls(), exists=control_topic(app) in Admin(settings).partitions())
    give_up = clock.monotonic() + _READ_SECONDS
    try:
        while not reader.loaded:
            reader.step()
            if clock.monotonic() > give_up:
                raise BrokerUnavailable(f"topic {control_topic(app)!r} was not read to its end: try again")
        return reader.state
    finally:
        reader.close()


def status(app: str, settings: Settings) -> AppStatus:
    """Return what ``app`` is told, and its workers; errors as ``run_state``."""
    return AppStatus(run_state(app, settings), GroupOffsets(app, settings).members())
