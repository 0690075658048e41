"""What the commands share: options, load, and the summary."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from streamserve.broker.server import LocalBroker
from tests.integration.conftest import topic_maker
from tests.integration.driving import Driver, events

SMALL = {"max_poll_records": "50", "commit_interval": "1ms", "session_timeout": "2s"}
"""Many small transactions, and a dead worker's partitions soon elsewhere."""

_FEED_SECONDS = 0.02
_USERS = 10


@dataclass(slots=True)
class Evidence:
    """What a run has found; threads may add to it."""

    what: str
    seed: int
    tries: int = 0
    anomalies: list[str] = field(default_factory=list[str])
    did: Counter[str] = field(default_factory=Counter[str])
    """How often something happened, by its name."""
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Times measured, by their name."""
    began: float = field(default_factory=time.monotonic)

    def wrong(self, sentences: Sequence[str]) -> None:
        """Keep anomalies, and show them at once."""
        self.anomalies.extend(sentences)
        for sentence in sentences:
            self.say(f"ANOMALY {sentence}")

    def took(self, name: str, seconds: float) -> None:
        """Keep one time."""
        self.seconds.setdefault(name, []).append(seconds)

    def say(self, text: str) -> None:
        """Tell how it goes."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", file=sys.stderr, flush=True)

    def summary(self) -> dict[str, object]:
        """Return everything as plain data."""
        return {
            "what": self.what,
            "seed": self.seed,
            "tries": self.tries,
            "anomalies": len(self.anomalies),
            "examples": self.anomalies[:10],
            "did": dict(self.did),
            "times": {name: _spread(times) for name, times in self.seconds.items()},
            "seconds": round(time.monotonic() - self.began, 1),
        }

    def conclude(self) -> int:
        """Print the summary; return the exit code."""
        print(json.dumps(self.summary()))
        return 1 if self.anomalies else 0


def _spread(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    percentiles = {f"p{part}": ordered[min(len(ordered) - 1, part * len(ordered) // 100)] for part in (50, 99)}
    return {"count": len(ordered), **{name: round(value, 3) for name, value in percentiles.items()}}


def options(doc: str | None, tries: int, *, takes_broker: bool = False) -> ArgumentParser:
    """Return the options that all commands have, and the one of those that ``broker_of`` serves."""
    parser = ArgumentParser(description=doc)
    parser.add_argument("--tries", type=int, default=tries)
    parser.add_argument("--seed", type=int, default=1)
    if takes_broker:
        parser.add_argument("--brokers", help="a broker to use instead of starting one")
    return parser


@contextmanager
def broker_of(given: Namespace) -> Generator[str]:
    """Give the address of the broker that was named, or of one that lives inside the block."""
    if given.brokers is not None:
        yield given.brokers
        return
    with LocalBroker() as broker:
        yield broker.address


@contextmanager
def plain_driver(topology: str, brokers: str, partitions: int = 2) -> Generator[Driver]:
    """Give a driver of a new app; its workers end with the block."""
    with TemporaryDirectory() as folder:
        driver = Driver(brokers, f"{topology}-{uuid4().hex[:8]}", topology, Path(folder), partitions)
        driver.create(topic_maker(brokers))
        try:
            yield driver
        finally:
            driver.close()


class Load:
    """Writes ``rate`` events a second to the first input of ``driver`` inside its block, on a thread of its own."""

    def __init__(self, driver: Driver, rate: int) -> None:
        self._topic = driver.inputs[0]
        self._rate = rate
        self._producer = Producer(
            {
                "bootstrap.servers": driver.brokers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 2,
            }
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.written = 0

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(_FEED_SECONDS):
            due = int((time.monotonic() - began) * self._rate)
            for event in events(due - self.written, first=self.written):
                self._producer.produce(self._topic, msgspec.json.encode(event), event.user.encode())
            self.written = due
            self._producer.poll(0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        left = self._producer.flush(60)
        if left:
            raise TimeoutError(f"{left} events were not written")


def chance_of(seed: int) -> random.Random:
    """Return what decides, the same for the same seed."""
    return random.Random(seed)  # noqa: S311 - no secret
