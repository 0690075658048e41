"""What a reader that is not part of the app sees of its answers: how late they are, and whether all come once."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from threading import Event, Thread
from typing import Self, cast

import msgspec
import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition

from streamserve.testing.reading import end_offsets
from streamserve.testing.verify.names import Names
from tests.integration.evidence.soak.load import Schedule

__all__ = ["Latency", "Reader"]

_BATCH = 2_000
_WAIT_S = 0.02


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles in milliseconds of the answers to inputs that were due in one span of the run."""

    from_s: float
    answers: int
    p50: float
    p99: float
    longest: float


class _Id(msgspec.Struct):
    id: int


class Reader:
    """Reads answers and dead letters, ``read_committed``, on a thread of its own inside its block.

    Latency is from the moment that an input was due by ``schedule``, not from when it was sent: what waits behind a
    standstill counts as waiting (G. Tene's "coordinated omission").
    """

    def __init__(self, brokers: str, names: Names, *, inputs: int, span_s: float) -> None:
        self._answers = names.answers
        self._seen = bytearray(inputs)
        self._span_s = span_s
        self._spans: dict[int, array[float]] = {}
        self._over = Event()
        self._thread = Thread(target=self._run, name="soak-reader", daemon=True)
        self.schedule: Schedule | None = None
        self._refused: set[tuple[bytes, bytes]] = set()
        self._answered = 0
        self.repeated = 0
        """Outcomes of inputs that had one."""
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "soak-reader",  # the client asks for one; nothing joins or commits under it
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                "fetch.queue.backoff.ms": 1,
            }
        )
        places = end_offsets(brokers, [names.answers, names.dead_letters])
        self._consumer.assign([TopicPartition(*place, 0) for place in places])

    @property
    def outcomes(self) -> int:
        """Return how many inputs have an outcome."""
        return self._answered + len(self._refused)

    def latencies(self) -> list[Latency]:
        """Return what was measured, span after span."""
        return [self._latency(span) for span in sorted(self._spans)]

    def _latency(self, span: int) -> Latency:
        delays = np.frombuffer(self._spans[span], dtype=np.float32)
        p50, p99, longest = (np.quantile(delays, [0.5, 0.99, 1.0]) * 1e3).round(1).tolist()
        return Latency(from_s=span * self._span_s, answers=len(delays), p50=p50, p99=p99, longest=longest)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._over.is_set():
            first = self._consumer.poll(_WAIT_S)
            if first is not None:
                self._take([first, *self._consumer.consume(_BATCH, 0)], time.monotonic())

    def _take(self, messages: list[Message], now: float) -> None:
        decode, schedule = _DECODER.decode, self.schedule
        for message in messages:
            if message.error() is not None:
                continue
            if message.topic() != self._answers:
                self._refuse(message)
                continue
            number = decode(message.value() or b"").id
            if self._seen[number]:
                self.repeated += 1
                continue
            self._seen[number] = 1
            self._answered += 1
            if schedule is not None and number >= schedule.first:
                self._note(schedule, schedule.age(number, now), now)

    def _refuse(self, message: Message) -> None:
        """Take a dead letter."""
        told = dict(cast("Sequence[tuple[str, bytes]]", message.headers() or ()))
        source = told["source-partition"], told["source-offset"]
        self.repeated += source in self._refused
        self._refused.add(source)

    def _note(self, schedule: Schedule, delay: float, now: float) -> None:
        span = int((now - delay - schedule.begins) / self._span_s)
        delays = self._spans.get(span)
        if delays is None:
            delays = self._spans[span] = array("f")
        delays.append(delay)


_DECODER = msgspec.json.Decoder(_Id)
