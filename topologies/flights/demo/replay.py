"""Puts the year on Kafka: oldest first, as fast as allowed or at a given speed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from threading import Event, Thread

from confluent_kafka import KafkaError, Producer

from streamserve.errors import OutageError
from topologies.flights.dataset import Message

__all__ = ["Replay", "flight_id_of"]

_SERVE_EVERY = 512
_SAMPLE_EVERY = 64
_WAIT_S = 0.005
_LONGEST_WAIT_S = 0.1
_FLUSH_S = 60.0
_NOW = 0
"""The timestamp for which librdkafka puts the moment of sending."""
_ID_STARTS = len(b'{"flight_id":"')


def flight_id_of(value: bytes) -> str:
    """Return the id that stands first in the JSON of a flight, without decoding the rest.

    >>> flight_id_of(b'{"flight_id":"2013-01-01-UA-1545-EWR","origin":"EWR"}')
    '2013-01-01-UA-1545-EWR'
    """
    return value[_ID_STARTS : value.index(b'"', _ID_STARTS)].decode()


class Replay:
    """Writes ``messages`` from a thread of its own, records with their event times, or ``live`` with those of sending.

    ``speed`` is how many seconds of event time pass in one second; ``None`` is as fast as the broker takes them.
    ``sent`` counts messages by topic; ``sent_at`` has the moment (``time.monotonic``) at which each 64th flight was
    handed to the producer, for whoever wants to know how long its prediction took.
    """

    def __init__(
        self, brokers: str, messages: Iterable[Message], *, speed: float | None = None, live: bool = False
    ) -> None:
        self.sent: Counter[str] = Counter()
        self.sent_at: dict[str, float] = {}
        self._brokers = brokers
        self._messages = messages
        self._speed = speed
        self._live = live
        self._failure: Exception | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="flights-replay", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End early; what was handed over is still sent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def done(self) -> bool:
        """Return whether everything was sent and acknowledged.

        Raises:
            OutageError: the broker did not take it all.
        """
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def _run(self) -> None:
        try:
            sender = _Sender(self._brokers, live=self._live)
            self._send(sender, self._paced(sender) if self._speed else self._messages)
            sender.finish()
        except Exception as error:
            self._failure = error

    def _send(self, sender: _Sender, messages: Iterable[Message]) -> None:
        for message in messages:
            if self._stop.is_set():
                return
            if message.topic == "flights" and self.sent["flights"] % _SAMPLE_EVERY == 0:
                self.sent_at[flight_id_of(message.value)] = time.monotonic()
            sender.send(message)
            self.sent[message.topic] += 1

    def _paced(self, sender: _Sender) -> Iterator[Message]:
        """Hand on each message when its time has come."""
        began, first_ms = time.monotonic(), None
        for message in self._messages:
            first_ms = message.timestamp_ms if first_ms is None else first_ms
            due = began + (message.timestamp_ms - first_ms) / 1000 / (self._speed or 1)
            while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                sender.wait(min(left, _LONGEST_WAIT_S))
            yield message


class _Sender:
    """A producer that loses and repeats nothing, partitions as Java's clients do, and waits where its queue is full."""

    def __init__(self, brokers: str, *, live: bool) -> None:
        self._live = live
        self._refused = 0
        self._unserved = 0
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "client.id": "flights-replay",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": 200_000,
                "delivery.report.only.error": True,
                "log_level": 3,
            }
        )

    def send(self, message: Message) -> None:
        topic, key, value, timestamp_ms = message
        if self._live:
            timestamp_ms = _NOW
        while True:
            try:
                self._producer.produce(topic, value, key, timestamp=timestamp_ms, on_delivery=self._on_delivery)
                break
            except BufferError:
                self.wait(_WAIT_S)
        self._unserved += 1
        if self._unserved == _SERVE_EVERY:
            self.wait(0)

    def wait(self, seconds: float) -> None:
        self._unserved = 0
        self._producer.poll(seconds)

    def finish(self) -> None:
        left = self._producer.flush(_FLUSH_S) + self._refused
        if left:
            raise OutageError(f"the broker did not take {left} messages of the replay: see its log")

    def _on_delivery(self, error: KafkaError | None, _message: object) -> None:
        self._refused += error is not None
