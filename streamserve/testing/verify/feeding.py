"""Writes inputs to an app's topics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from streamserve.errors import BrokerUnavailable
from streamserve.testing.verify.inputs import Input
from streamserve.testing.verify.names import Names

if TYPE_CHECKING:
    from streamserve.testing.reading import ReadRecord

__all__ = ["Feeder"]

_FLUSH_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Feeder:
    """A producer without transactions; records of one key go where Java's clients put them.

    Its methods raise ``BrokerUnavailable`` where the broker does not take the records.
    """

    def __init__(self, brokers: str, *, linger_ms: int = 5) -> None:
        self._brokers = brokers
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "message.max.bytes": 64 << 20,
                "log_level": 0,  # what fails is raised, and what is retried need not be told
            }
        )

    def ask(self, names: Names, inputs: Iterable[Input]) -> None:
        """Write inputs of the built-in app, and behind each its label where it has one."""
        self.send(names, inputs)
        self.flush()

    def send(self, names: Names, inputs: Iterable[Input]) -> None:
        """Do the same without waiting for the broker."""
        for event in inputs:
            self._put(names.inputs, event.key.encode(), event.encode(), timestamp=event.at_ms)
            if event.is_labelled:
                self._put(names.labels, b"%d" % event.id, _label(event), timestamp=event.at_ms)
        self._producer.poll(0)

    def close(self, names: Names, inputs: Sequence[Input]) -> None:
        """Write one of ``inputs`` to each partition, so that its windows close."""
        for partition, event in enumerate(inputs):
            self._put(names.inputs, event.key.encode(), event.encode(), timestamp=event.at_ms, partition=partition)
        self.flush()

    def copy(self, records: Iterable[ReadRecord]) -> None:
        """Write records as they are: topic, partition, key, value, headers and time."""
        for record in records:
            more = {"headers": list(record.headers), "partition": record.partition}
            self._put(record.topic, record.key, record.value, timestamp=max(0, record.timestamp_ms), **more)
        self.flush()

    def _put(self, topic: str, key: bytes | None, value: bytes | None, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, **more)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        """Wait until the broker has everything."""
        if left := self._producer.flush(_FLUSH_S):
            raise BrokerUnavailable(f"{self._brokers} has not taken {left} inputs within {_FLUSH_S:g} s; is it up?")


def _label(event: Input) -> bytes:
    at = _EPOCH + timedelta(milliseconds=event.at_ms)
    return json.dumps({"id": event.id, "at": at.isoformat(), "truth": event.truth}).encode()
