"""Crash points: at which side of which call a worker is struck, and how, counted from what struck it last."""

from __future__ import annotations

from itertools import product
from typing import Final, Literal, NamedTuple, TypeAlias

from streamserve.kafka.calls import CALL_NAMES, When

__all__ = ["KILLS", "NUMBERS", "ORDINALS", "POINTS", "START", "Action", "Point", "is_asked_for"]

Action: TypeAlias = Literal["raise", "kill", "leave"]
"""The call fails; the worker is killed, and started again; it is killed, and another takes its partitions over."""

KILLS: Final = frozenset[Action]({"kill", "leave"})
SIDES: Final[tuple[When, ...]] = ("before", "after")
ORDINALS: Final = 3


class Point(NamedTuple):
    """The ``ordinal``-th time that a side of ``call`` is passed since the last strike, or since the process began.

    >>> print(Point("producer.flush", "before", 2, "kill"))
    producer.flush:before:2:kill
    """

    call: str
    when: When
    ordinal: int
    action: Action

    def __str__(self) -> str:
        return f"{self.call}:{self.when}:{self.ordinal}:{self.action}"


START: Final = 0
"""The number of no point at all: what a worker recovers from that was stopped in order before."""

_SELVES: tuple[Action, ...] = ("raise", "kill")
POINTS: Final = (
    *(
        Point(call, when, ordinal, action)
        for call, when, ordinal, action in product(CALL_NAMES, SIDES, (1, 2, 3), _SELVES)
    ),
    *(Point(call, when, 1, "leave") for call, when in product(CALL_NAMES, SIDES)),
)
"""All of them; their numbers count from 1."""

NUMBERS: Final = {point: number for number, point in enumerate(POINTS, 1)}


def is_asked_for(first: int, second: int) -> bool:
    """Return whether ``second`` is to strike in the recovery from ``first``.

    Who takes over waits for a session to end, which takes seconds: that is asked for from a start in order only.
    """
    return first == START or POINTS[second - 1].action != "leave"
