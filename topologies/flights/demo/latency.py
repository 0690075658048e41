"""How long a flight takes to its prediction when the worker keeps up: measured after the replay, which only queues."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from threading import Thread
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from streamserve.errors import OutageError
from streamserve.testing.checks import end_offsets

__all__ = ["Latency", "measure_latency"]

_WARM_UP_S = 2.0
_PATIENCE_S = 20.0
_NAP_S = 0.0005
_ID = "latency-"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the producer's ``produce`` to a ``read_committed`` reader, of ``count`` flights."""

    count: int
    p50: float
    p95: float
    p99: float

    def as_dict(self) -> dict[str, float]:
        """Return the quantiles as plain data for JSON."""
        return {"p50": round(self.p50, 2), "p95": round(self.p95, 2), "p99": round(self.p99, 2)}


class _Id(msgspec.Struct):
    flight_id: str


def measure_latency(
    brokers: str, flights: Sequence[tuple[bytes | None, bytes]], *, rate: int = 1000, seconds: float = 5.0
) -> Latency:
    """Send ``rate`` flights a second, copies of ``flights`` under names of their own, and time their predictions.

    The first two seconds warm up and are not counted.

    Raises:
        OutageError: predictions are still missing 20 s after the last flight was sent.
    """
    messages = _copies(flights, round((_WARM_UP_S + seconds) * rate))
    reader = _reader_at_end(brokers)
    sent: dict[str, float] = {}
    try:
        sender = Thread(target=_send, args=(brokers, messages, rate, sent), daemon=True)
        sender.start()
        seen = _receive(reader, len(messages), time.monotonic() + _WARM_UP_S + seconds + _PATIENCE_S)
        sender.join()
    finally:
        reader.close()
    if len(seen) < len(messages):
        raise OutageError(
            f"{len(messages) - len(seen)} of {len(messages)} predictions are missing: see the worker's log"
        )
    counted = [flight_id for flight_id, _, _ in messages[round(_WARM_UP_S * rate) :]]
    delays = np.array([seen[flight_id] - sent[flight_id] for flight_id in counted]) * 1000
    p50, p95, p99 = np.quantile(delays, [0.5, 0.95, 0.99]).tolist()
    return Latency(len(counted), p50, p95, p99)


def _copies(flights: Sequence[tuple[bytes | None, bytes]], count: int) -> list[tuple[str, bytes | None, bytes]]:
    """Return ids, keys and values of ``count`` flights like the given ones."""
    templates: list[tuple[bytes | None, dict[str, Any]]] = [(key, msgspec.json.decode(value)) for key, value in flights]
    copies: list[tuple[str, bytes | None, bytes]] = []
    for number, (key, event) in enumerate(islice(cycle(templates), count)):
        flight_id = f"{_ID}{number}"
        copies.append((flight_id, key, msgspec.json.encode({**event, "flight_id": flight_id})))
    return copies


def _send(brokers: str, messages: Sequence[tuple[str, bytes | None, bytes]], rate: int, sent: dict[str, float]) -> None:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "partitioner": "murmur2_random"})
    began = time.perf_counter()
    number = 0
    while number < len(messages):
        due = min(len(messages), int((time.perf_counter() - began) * rate))
        for flight_id, key, value in messages[number:due]:
            sent[flight_id] = time.perf_counter()
            producer.produce("flights", value, key)
        number = due
        producer.poll(0)
        time.sleep(_NAP_S)
    producer.flush(_PATIENCE_S)


def _reader_at_end(brokers: str) -> Consumer:
    reader = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "flights-latency",  # the client asks for one; nothing joins or commits under it
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
            "fetch.queue.backoff.ms": 1,
        }
    )
    ends: Mapping[tuple[str, int], int] = end_offsets(brokers, ["delays"])
    reader.assign([TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()])
    reader.poll(0)
    return reader


def _receive(reader: Consumer, count: int, give_up: float) -> dict[str, float]:
    """Return when each copy's prediction was seen."""
    decode = msgspec.json.Decoder(_Id).decode
    seen: dict[str, float] = {}
    while len(seen) < count and time.monotonic() < give_up:
        first = reader.poll(0.05)
        arrived = [] if first is None else [first, *reader.consume(500, 0)]
        now = time.perf_counter()
        for message in arrived:
            if message.error() is None:
                flight_id = decode(message.value() or b"").flight_id
                if flight_id.startswith(_ID):
                    seen[flight_id] = now
    return seen
