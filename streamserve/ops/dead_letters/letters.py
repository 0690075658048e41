"""Dead letters as data, and which of them are meant."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamserve.kafka.dead_letters import ORIGINAL_PREFIX
from streamserve.ops.times import iso
from streamserve.records import Coordinates, Headers, RawRecord, to_epoch_ms

__all__ = ["REPLAYED_FROM", "REPLAYS", "DeadLetter", "Wanted", "shown_payload"]

REPLAYED_FROM = "streamserve-replayed-from"
"""The header of a replayed record that names its dead letter: ``topic[partition]@offset``."""
REPLAYS = "streamserve-replays"
"""The header of a replayed record that says how often it was replayed by now, over all of its dead letters."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, its headers decoded; times are milliseconds since the epoch (UTC).

    ``source`` is ``None`` where no record stands behind it but a lost result of ``window``, or a failed timer of
    ``table``. ``headers`` are the record's own. ``replays`` says how often the record had been replayed when it failed.
    """

    at: Coordinates
    time_ms: int
    step: str
    reason: str
    error: str
    message: str
    source: Coordinates | None
    source_ms: int
    window: str | None
    table: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    replays: int

    @classmethod
    def of(cls, record: RawRecord) -> DeadLetter:
        """Return what a record of a dead-letter topic says; what it does not say is empty."""
        told = record.headers() or []
        own = [(name.removeprefix(ORIGINAL_PREFIX), value) for name, value in told if name.startswith(ORIGINAL_PREFIX)]
        facts = {name: _text(value) for name, value in reversed(told) if not name.startswith(ORIGINAL_PREFIX)}
        return cls(
            at=Coordinates(record.topic() or "", record.partition() or 0, record.offset() or 0),
            time_ms=record.timestamp()[1],
            step=facts.get("step", ""),
            reason=facts.get("reason", ""),
            error=facts.get("error", ""),
            message=facts.get("message", ""),
            source=_source(facts),
            source_ms=_number(facts.get("source-timestamp")) or 0,
            window=facts.get("window"),
            table=facts.get("table"),
            key=record.key(),
            value=record.value(),
            headers=own,
            replays=next((_number(_text(value)) or 0 for name, value in own if name == REPLAYS), 0),
        )

    def facts(self) -> dict[str, Any]:
        """Return everything but the payload and the record's own headers, as plain data."""
        return {
            "topic": self.at.topic,
            "partition": self.at.partition,
            "offset": self.at.offset,
            "time": iso(self.time_ms),
            "step": self.step,
            "reason": self.reason,
            "error": self.error,
            "message": self.message,
            "source": None if self.source is None else {**self.source._asdict(), "time": iso(self.source_ms)},
            "window": self.window,
            "table": self.table,
            "replays": self.replays,
        }

    @property
    def came_from(self) -> str:
        """Where it comes from, in one word or two."""
        if self.source is not None:
            return str(self.source)
        return f"window {self.window}" if self.table is None else f"timer of {self.table}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant: those that fulfil all of what is given.

    ``places`` are partitions and offsets in the dead-letter topic.
    """

    reason: str | None = None
    step: str | None = None
    since: datetime | None = None
    places: Collection[tuple[int, int]] = ()

    @property
    def is_everything(self) -> bool:
        """Return whether nothing is asked for."""
        return not (self.reason or self.step or self.since or self.places)

    def takes(self, letter: DeadLetter) -> bool:
        """Return whether ``letter`` is meant."""
        return (
            self.reason in (None, letter.reason)
            and self.step in (None, letter.step)
            and (self.since is None or letter.time_ms >= to_epoch_ms(self.since))
            and (not self.places or (letter.at.partition, letter.at.offset) in self.places)
        )


def _source(facts: Mapping[str, str]) -> Coordinates | None:
    partition, offset = _number(facts.get("source-partition")), _number(facts.get("source-offset"))
    if "source-topic" not in facts or partition is None or offset is None:
        return None
    return Coordinates(facts["source-topic"], partition, offset)


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")


def shown_payload(payload: bytes | None) -> Any:
    """Return a payload as JSON data where it is, else as text.

    >>> shown_payload(b'{"n": 1}'), shown_payload(b"NaN"), shown_payload(None)
    ({'n': 1}, 'NaN', None)
    """
    if payload is None:
        return None
    text = payload.decode(errors="backslashreplace")
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    """NaN and infinities are no JSON, and could not be printed again."""
    raise ValueError(constant)
