"""The control topic of an app, ``<app>-control``: what all of its workers are told to do, compacted by key."""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

from confluent_kafka import KafkaException, TopicCollection

from streamserve.errors import ConfigurationError
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogReader
from streamserve.kafka.clients import common_config
from streamserve.kafka.errors import translated
from streamserve.settings import Settings

__all__ = ["RUN_KEY", "ControlReader", "RunState", "control_topic"]

RUN_KEY = b"run"
"""The key of the record that says whether the app runs; readers pass over others."""


def control_topic(app: str) -> str:
    """Return the name of an app's control topic."""
    return f"{app}-control"


@dataclass(frozen=True, slots=True)
class RunState:
    """Whether an app is to process, ``since`` when (ISO 8601, UTC) and for what ``reason``, as far as it was said.

    >>> RunState.decode(RunState(paused=True, reason="maintenance").encode()).paused
    True
    >>> RunState.decode(b"yes") is None
    True
    """

    paused: bool = False
    since: str = ""
    reason: str = ""

    def encode(self) -> bytes:
        """Return the record's value, JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, value: bytes | None) -> Self | None:
        """Return what a record's value says: without one the app runs; ``None`` where it says nothing that is known."""
        if value is None:
            return cls()
        try:
            said: Any = json.loads(value)
            paused = said["paused"]
        except (ValueError, TypeError, KeyError):
            return None
        if not isinstance(paused, bool):
            return None
        return cls(paused, str(said.get("since", "")), str(said.get("reason", "")))


class ControlReader:
    """Follows an app's control topic, which need not exist: ``step`` now and then, at no cost but a poll.

    ``exists`` says whether it did a moment ago. If not, the app runs, and each ``step`` looks for the topic again
    without waiting for the answer. Where the broker refuses the reader, or somebody deletes the topic, it hears nothing
    more: that is no reason not to process.

    Raises (from ``step``):
        BrokerUnavailable: no broker answers.
    """

    def __init__(self, app: str, settings: Settings, calls: Calls, *, exists: bool) -> None:
        self._app = app
        self._topic = control_topic(app)
        self._settings = settings
        self._calls = calls
        self.exists = exists
        """Whether the topic is known to be there."""
        self._refused = False
        self._admin: Any = None
        self._asked: Future[Any] | None = None
        self._reader: ChangelogReader | None = None
        self.state = RunState()
        """What the last record that says something known says."""
        self.loaded = not exists
        """Whether the topic was read to the end that it had at the start."""

    def step(self) -> None:
        """Read on: up to the topic's end for up to 50 ms or so, then what is at hand."""
        if self._refused:
            return
        self.exists = self.exists or self._has_come()
        if self.exists:
            try:
                self._read()
            except ConfigurationError:
                self.loaded = self._refused = True

    def _read(self) -> None:
        if self._reader is None:
            self._reader = self._open()
        columns = self._reader.follow() if self.loaded else self._reader.step()
        for _, keys, values in columns or ():
            for key, value in zip(keys, values, strict=True):
                if key == RUN_KEY:
                    self.state = RunState.decode(value) or self.state
        self.loaded = self.loaded or columns is None

    def _open(self) -> ChangelogReader:
        reader = ChangelogReader(self._app, self._settings, self._calls)
        reader.request({(self._topic, 0): 0}, follows=True)
        if reader.progress() == (0, 0):
            self.loaded = True  # an empty topic need not tell its end
        return reader

    def _has_come(self) -> bool:
        """Return whether the topic is there by now, as the broker answered what was asked the last time."""
        asked, found = self._asked, False
        if asked is not None and not asked.done():
            return False
        if asked is not None:
            with suppress(KafkaException, TimeoutError):
                asked.result()
                found = True
        self._asked = None if found else self._ask()
        return found

    def _ask(self) -> Future[Any]:
        """Ask for the topic in a way that does not create it: a metadata request of any other client might."""
        with translated("look for the control topic", self._settings.bootstrap_servers):
            if self._admin is None:
                self._admin = self._calls.clients.admin({"log_level": 0, **common_config(self._settings)})
            futures: dict[str, Future[Any]] = self._admin.describe_topics(TopicCollection([self._topic]))
            return futures[self._topic]

    def close(self) -> None:
        """Let go of the reader; what was read stays known."""
        if self._reader is not None:
            self._reader.close()
