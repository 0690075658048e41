"""Latency of one event: from the moment that it is due until a ``read_committed`` reader has its prediction.

Events are due at even intervals, whatever the program under measurement does, and each delay counts from that moment:
an event that this program sent late, because it or the client was held up, has waited all the same (to count from the
actual send would leave out just the events that met a stall, Gil Tene's "coordinated omission").
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.benchmarks.workload import USERS, Scored, event

_DRAIN_S = 10.0
_BATCH = 500
_LEAST_PAUSE_S = 0.0002
"""Events that are due within this time are sent together, or the sender would do nothing but wake up."""
_GIL_S = 0.0002
"""How long sender and reader may hold Python's lock from each other: by default 5 ms, as much as what is measured."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles in milliseconds over ``events``, each received once; ``p999`` is the 99.9th percentile."""

    events: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float


class LatencyError(Exception):
    """Not every event came back: there is no latency to tell."""


@dataclass(slots=True)
class Run:
    """Which events are sent, and what was received when: batches of values, on this process's clock, in seconds.

    Event ``number`` of ``values`` is due at ``began + number / rate``.
    """

    first: int
    values: Sequence[bytes]
    received: list[tuple[float, list[bytes]]] = field(default_factory=list[tuple[float, list[bytes]]])
    count: int = 0
    began: float = 0.0
    ends_at: float = float("inf")

    @property
    def is_over(self) -> bool:
        """Whether all came back, or the time for that has passed."""
        return self.count >= len(self.values) or time.perf_counter() > self.ends_at


def measure(
    brokers: str,
    source: str,
    target: str,
    *,
    rate: int = 1000,
    seconds: float = 8.0,
    warm_up_s: float = 3.0,
    first: int = 0,
) -> Latency:
    """Send ``rate`` events a second for ``seconds``; those of the first ``warm_up_s`` do not count.

    An app has to be scoring ``source`` into ``target`` already. Events are numbered from ``first``; what other
    numbers' predictions the topic has, or gets, is passed over.

    Raises:
        LatencyError: some event's prediction did not come within 10 s of the last event.
    """
    run = Run(first, [event(number) for number in range(first, first + int(rate * seconds))])
    consumer = _consumer(brokers, target)
    reader = threading.Thread(target=_receive, args=(consumer, run))
    with _undisturbed():
        reader.start()
        _send(Producer({"bootstrap.servers": brokers, "linger.ms": 0}), source, rate, run)
        run.ends_at = time.perf_counter() + _DRAIN_S
        reader.join()
    consumer.close()
    return quantiles(run, rate, counted_from=int(rate * warm_up_s))


@contextmanager
def _undisturbed() -> Generator[None]:
    """Keep out of the measurement what is this program's own: garbage collection, and long turns of a thread."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.disable()
    sys.setswitchinterval(_GIL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.enable()


def _send(producer: Producer, source: str, rate: int, run: Run) -> None:
    """Send each event when it is due."""
    keys = [b"%d" % user for user in range(USERS)]
    run.began = began = time.perf_counter()
    sent = 0
    while sent < len(run.values):
        due = min(int((time.perf_counter() - began) * rate) + 1, len(run.values))
        for number in range(sent, due):
            producer.produce(source, run.values[number], key=keys[(run.first + number) % USERS])
        sent = due
        producer.poll(0)
        time.sleep(max(_LEAST_PAUSE_S, began + sent / rate - time.perf_counter()))
    producer.flush()


def _receive(consumer: Consumer, run: Run) -> None:
    """Keep values as they come; to decode them meanwhile would hold up those behind them."""
    while not run.is_over:
        messages = _arrived(consumer)
        if messages:
            now = time.perf_counter()
            run.received.append((now, [message.value() or b"" for message in messages]))
            run.count += len(messages)


def _arrived(consumer: Consumer) -> list[Message]:
    first = consumer.poll(0.05)
    return [] if first is None else [first, *consumer.consume(_BATCH, 0)]


def quantiles(run: Run, rate: int, counted_from: int) -> Latency:
    """Return the delays of the events from number ``counted_from`` of the run on, each since it was due.

    Raises:
        LatencyError: some prediction is missing.
    """
    received = _times(run)
    missing = len(run.values) - len(received)
    if missing:
        raise LatencyError(f"{missing} of {len(run.values)} predictions did not come within {_DRAIN_S:.0f} s")
    due = run.began + np.arange(counted_from, len(run.values)) / rate
    delays = np.array([received[run.first + number] for number in range(counted_from, len(run.values))]) - due
    p50, p95, p99, p999, longest = (np.quantile(delays, [0.5, 0.95, 0.99, 0.999, 1]) * 1e3).round(3).tolist()
    return Latency(events=len(delays), p50=p50, p95=p95, p99=p99, p999=p999, max=longest)


def _times(run: Run) -> dict[int, float]:
    """Return when the prediction of each of the run's events first came."""
    decode = msgspec.json.Decoder(Scored).decode
    mine = range(run.first, run.first + len(run.values))
    times: dict[int, float] = {}
    for at, values in run.received:
        for number in (decode(value).id for value in values):
            if number in mine:
                times.setdefault(number, at)
    return times


def _consumer(brokers: str, target: str) -> Consumer:
    """Return a reader of what comes into ``target`` from now on."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{target}-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 5,
            "fetch.queue.backoff.ms": 1,
        }
    )
    partitions = consumer.list_topics(target, 10).topics[target].partitions
    ends = {number: consumer.get_watermark_offsets(TopicPartition(target, number), 10)[1] for number in partitions}
    consumer.assign([TopicPartition(target, number, end) for number, end in ends.items()])
    return consumer
