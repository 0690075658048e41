"""Crash points, in pairs: what strikes a worker, and what strikes the recovery from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from streamserve.kafka.calls import CALL_NAMES, When
from streamserve.testing.faults import Action, Fault
from tests.integration.crash_points import ONLY_AFTER_A_DEAD_OWNER
from tests.integration.evidence.trials import chance_of
from tests.integration.relay import PREFIX

SIDES: tuple[When, ...] = ("before", "after")
ACTIONS: tuple[Action, ...] = ("kill", "raise")

ENDING = Fault("producer.send_offsets", "before", 1, "raise")
"""Leads to the calls that only the end of an incarnation makes, a transaction being open."""
DYING = Fault("producer.send_offsets", "after", 2, "kill")
"""Leads to the calls that are made for the partitions of a dead owner only: dies with a transaction open."""
LEADS = {
    "producer.abort_transaction": ENDING,
    "consumer.close": ENDING,
    **dict.fromkeys(ONLY_AFTER_A_DEAD_OWNER, DYING),
}


ONCE = {
    "consumer.subscribe",
    "consumer.delete_records",
    "consumer.close",
    "group.describe",
    "group.last_owners",
    "producer.abort_transaction",
}
"""Calls that an incarnation makes once, at least in so short a life: there is no second ordinal."""


def points(ordinals: int) -> list[Fault]:
    """Return every point up to an ordinal, in the order of a worker's life."""
    return [
        Fault(call, when, ordinal, action)
        for ordinal, call, when, action in product(range(1, ordinals + 1), CALL_NAMES, SIDES, ACTIONS)
        if ordinal == 1 or call not in ONCE
    ]


@dataclass(frozen=True, slots=True)
class Pair:
    """A point, and another in the recovery from it."""

    number: int
    first: Fault
    second: Fault

    def __str__(self) -> str:
        return f"pair {self.number} ({written(self.first)}, then {written(self.second)})"


def pairs(ordinals: int, second_ordinals: int, seed: int) -> Iterator[Pair]:
    """Yield all pairs: in each stretch as long as there are points, each point is the first of one pair."""
    firsts, seconds = points(ordinals), points(second_ordinals)
    chance = chance_of(seed)
    chance.shuffle(firsts)
    chance.shuffle(seconds)
    for number in range(len(firsts) * len(seconds)):
        row, place = divmod(number, len(firsts))
        yield Pair(number, firsts[place], seconds[(place + row) % len(seconds)])


@dataclass(frozen=True, slots=True)
class Life:
    """One process: its name, its faults in their order, and which of the pair's points they are."""

    instance: str
    faults: Sequence[Fault]
    places: Sequence[int | None]
    """For each fault the place of its point in the pair, ``None`` for one that only leads there."""

    @property
    def fault(self) -> str:
        """Return what the worker is given."""
        return PREFIX + ",".join(map(written, self.faults))

    @property
    def ends_by_kill(self) -> bool:
        """Return whether its last fault kills it."""
        return self.faults[-1].action == "kill"


def lives(pair: Pair) -> list[Life]:
    """Return the processes that a pair takes, one after the other: each kill ends one.

    A worker that dies to leave something to another owner has another name than the next.
    """
    steps = [step for place, point in enumerate((pair.first, pair.second)) for step in _led(place, point)]
    found: list[Life] = []
    while steps:
        end = next((at + 1 for at, (_, fault) in enumerate(steps) if fault.action == "kill"), len(steps))
        own, steps = steps[:end], steps[end:]
        faults = [fault for _, fault in own]
        instance = "w1" if DYING in faults else "w0"
        found.append(Life(instance, faults, [place for place, _ in own]))
    return found


def _led(place: int, point: Fault) -> Iterator[tuple[int | None, Fault]]:
    if point.call in LEADS:
        yield None, LEADS[point.call]
    yield place, point


def written(fault: Fault) -> str:
    """Return a fault as the switch reads it.

    >>> written(Fault("producer.flush", "before", 2, "kill"))
    'producer.flush:before:2:kill'
    """
    return f"{fault.call}:{fault.when}:{fault.ordinal}:{fault.action}"
