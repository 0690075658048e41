"""Inputs on a schedule, from a process of its own: when one was due does not depend on how anything else gets on."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection

from streamserve.testing.verify.feeding import Feeder
from streamserve.testing.verify.inputs import make_inputs
from streamserve.testing.verify.names import Names

__all__ = ["Schedule", "scheduled"]

_TICK_S = 0.002
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The inputs from number ``first`` on: ``count`` of them, ``rate`` a second, from ``begins`` on.

    Times are of the clock that all processes of a machine share (``time.monotonic`` on Linux), in seconds.
    """

    first: int
    count: int
    rate: float
    begins: float

    def due(self, now: float) -> int:
        """Return how many are due.

        >>> schedule = Schedule(first=100, count=10, rate=2.0, begins=50.0)
        >>> schedule.due(49.0), schedule.due(51.0), schedule.due(99.0)
        (0, 2, 10)
        """
        return min(self.count, max(0, int((now - self.begins) * self.rate)))

    def age(self, number: int, now: float) -> float:
        """Return how long ago input ``number`` was due, in seconds."""
        return now - self.begins - (number - self.first) / self.rate


@contextmanager
def scheduled(brokers: str, names: Names, first: int, count: int, rate: float, seed: int) -> Generator[Schedule]:
    """Have a process write what is due, from the block's beginning on; leave the block when all is written.

    Raises:
        RuntimeError: not everything was written.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_send, args=(theirs, brokers, names, first, count, seed), name="load", daemon=True
    )
    process.start()
    try:
        if not ours.poll(_PATIENCE_S):
            raise RuntimeError(f"the load has not started within {_PATIENCE_S:g} s")
        ours.recv()
        schedule = Schedule(first=first, count=count, rate=rate, begins=time.monotonic())
        ours.send(schedule)
        yield schedule
        process.join(_PATIENCE_S)
    finally:
        code = process.exitcode
        process.kill()
        process.join()
    if code != 0:
        raise RuntimeError(f"the load ended with {code}, not after all that was due")


def _send(ours: Connection, brokers: str, names: Names, first: int, count: int, seed: int) -> None:
    """Make ready, say so, and write what is due by the schedule that comes back."""
    feeder, sent = Feeder(brokers, linger_ms=0), 0
    inputs = make_inputs(first + count, seed)
    for _ in islice(inputs, first):
        pass
    ours.send("ready")
    schedule: Schedule = ours.recv()
    while sent < count:
        due = schedule.due(time.monotonic())
        feeder.send(names, islice(inputs, due - sent))
        sent = due
        time.sleep(_TICK_S)
    feeder.flush()
