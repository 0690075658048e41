"""Events for the apps that the harness and a real broker are compared on, and the order in which they come.

Event times are a few milliseconds apart, so that what an app waits for in event time is over soon by the clock as well.
No two events of one topic have one time: regrouped ones of different partitions would come in either order. A phase
ends with events late enough to settle what came before, in every partition, where nothing else would.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from confluent_kafka import murmur2

from tests.integration.conformance import START, Phase
from tests.integration.running import Input

START_MS = round(START.timestamp() * 1000)
PARTITIONS = 3
LATENESS_MS = 60
"""How far events may be out of order."""
STEP_MS = 7
"""Between one event and the next."""
PATIENT = {"merge_wait": "500ms"}
"""A producer's pause between two topics that are read together is over sooner."""


class Event(msgspec.Struct, frozen=True):
    """``n`` is the number of the event, ``value`` what windows count."""

    n: int
    user: str
    at: datetime
    group: str = "g"
    value: float | None = None


class Result(msgspec.Struct, frozen=True):
    """What an agent or a timer tells."""

    user: str
    n: int
    text: str = ""


class Total(msgspec.Struct, frozen=True):
    """What a window came to."""

    key: str
    start: datetime
    end: datetime
    value: float | str | None = None


def at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def event_of(n: int, *, at_ms: int | None = None, users: int = 5, user: str = "", group: str = "") -> Event:
    """Return the event ``n``, a step after the one before; some have no value."""
    return Event(
        n,
        user or f"user-{n * 7 % users}",
        at(n * STEP_MS if at_ms is None else at_ms),
        group or f"group-{n % 3}",
        None if n % 6 == 5 else n * 37 % 101 / 10,
    )


def record_of(event: Event) -> Input:
    """Return what carries ``event``; its timestamp is the event's own time."""
    stamp = round(event.at.timestamp() * 1000)
    return Input(msgspec.to_builtins(event), event.user.encode(), stamp, -1)


def shuffled(numbers: Iterable[int], seed: int, lateness_ms: int = LATENESS_MS) -> list[Input]:
    """Return events in an order of arrival within the allowed lateness."""
    chance = random.Random(seed)  # noqa: S311 - a test's events
    arrivals = sorted(numbers, key=lambda n: n * STEP_MS + chance.uniform(0, lateness_ms - 1))
    return [record_of(event_of(n)) for n in arrivals]


def keys_of_each_partition(partitions: int = PARTITIONS) -> list[str]:
    """Return a key that belongs to each partition."""
    keys = [f"key-{n}" for n in range(50)]
    return [next(key for key in keys if murmur2(key.encode(), partitions) == part) for part in range(partitions)]


def ticks(n: int, at_ms: int) -> list[Input]:
    """Return an event for each partition that moves its time on."""
    return [
        record_of(event_of(n + part, at_ms=at_ms + part, user=key)) for part, key in enumerate(keys_of_each_partition())
    ]


def phases_of(topic: str, seed: int, *, more: Sequence[Input] = ()) -> list[Phase]:
    """Return events in three phases, each settled by the next; ``more`` come in the third."""
    return [
        Phase({topic: [*shuffled(range(60), seed), *ticks(1_000, 450)]}),
        Phase({topic: [*shuffled(range(100, 160), seed), *ticks(1_010, 1_150)]}),
        Phase({topic: [*more, *shuffled(range(200, 230), seed), *ticks(1_020, 3_000)]}),
        Phase({topic: ticks(1_030, 9_000)}),
    ]
