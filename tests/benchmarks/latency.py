"""Latency of one event: from just before ``produce`` until a ``read_committed`` reader has its prediction."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
from confluent_kafka import Consumer, Message, Producer

from tests.benchmarks.workload import USERS, Scored, event

_DRAIN_S = 10.0
_BATCH = 500


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles in milliseconds over ``events``, each received once."""

    events: int
    p50: float
    p95: float
    p99: float
    max: float


class LatencyError(Exception):
    """Not every event came back: there is no latency to tell."""


@dataclass(slots=True)
class _Run:
    """When each event was sent and received, on this process's clock, in seconds."""

    sent: list[float] = field(default_factory=list[float])
    received: dict[int, float] = field(default_factory=dict[int, float])
    is_sending: bool = True
    ends_at: float = float("inf")

    @property
    def is_over(self) -> bool:
        everything = not self.is_sending and len(self.received) >= len(self.sent)
        return everything or time.perf_counter() > self.ends_at


def measure(
    brokers: str, source: str, target: str, *, rate: int = 1000, seconds: float = 8.0, warm_up_s: float = 3.0
) -> Latency:
    """Send ``rate`` events a second for ``seconds``; those of the first ``warm_up_s`` do not count.

    An app has to be scoring ``source`` into ``target`` already.

    Raises:
        LatencyError: some event's prediction did not come within 10 s of the last event.
    """
    consumer = _consumer(brokers, target)
    run = _Run()
    reader = threading.Thread(target=_receive, args=(consumer, run))
    gc.collect()
    gc.disable()  # the pauses would be this program's own
    try:
        reader.start()
        _send(Producer({"bootstrap.servers": brokers, "linger.ms": 0}), source, rate, seconds, run)
        run.ends_at = time.perf_counter() + _DRAIN_S
        run.is_sending = False
        reader.join()
    finally:
        gc.enable()
        consumer.close()
    return _quantiles(run, first=int(rate * warm_up_s))


def _send(producer: Producer, source: str, rate: int, seconds: float, run: _Run) -> None:
    """Send what is due every half millisecond."""
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for number in range(len(run.sent), int(passed * rate)):
            value = event(number)
            run.sent.append(time.perf_counter())
            producer.produce(source, value, key=b"%d" % (number % USERS))
        producer.poll(0)
        time.sleep(0.0005)
    producer.flush()


def _receive(consumer: Consumer, run: _Run) -> None:
    decode = msgspec.json.Decoder(Scored).decode
    for message in _messages(consumer, run):
        run.received.setdefault(decode(message.value() or b"").id, time.perf_counter())


def _messages(consumer: Consumer, run: _Run) -> Iterator[Message]:
    while not run.is_over:
        first = consumer.poll(0.05)
        if first is not None:
            yield first
            yield from consumer.consume(_BATCH, 0)


def _quantiles(run: _Run, first: int) -> Latency:
    missing = len(run.sent) - len(run.received)
    if missing:
        raise LatencyError(f"{missing} of {len(run.sent)} predictions did not come within {_DRAIN_S:.0f} s")
    delays = [run.received[number] - run.sent[number] for number in range(first, len(run.sent))]
    p50, p95, p99, longest = (np.quantile(delays, [0.5, 0.95, 0.99, 1]) * 1e3).round(3).tolist()
    return Latency(events=len(delays), p50=p50, p95=p95, p99=p99, max=longest)


def _consumer(brokers: str, target: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{target}-reader",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 5,
            "fetch.queue.backoff.ms": 1,
        }
    )
    consumer.subscribe([target])
    while not consumer.assignment():
        consumer.poll(0.1)
    return consumer
