"""What a driver by hand keeps: the instances of its agent, and what they wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, cast

from streamserve.dataflow.driving.effects import NEXT_EVENT, Next, Take


class Instance:
    """One instance of the agent and the events that wait for it."""

    __slots__ = ("coroutine", "gathering", "lots", "queue", "row", "send", "throw", "wants")

    def __init__(self) -> None:
        self.coroutine: Any = None
        self.send: Any = None
        self.throw: Any = None
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.wants: Next | Take = NEXT_EVENT
        self.lots = Lots()
        self.gathering: Gathering | None = None

    def start(self, coroutine: Any, *, scoped: bool) -> None:
        """Go on with a fresh frame; ``scoped`` gives it context variables of its own."""
        self.coroutine = coroutine
        self.send, self.throw = coroutine.send, coroutine.throw
        if scoped:
            run = copy_context().run
            self.send, self.throw = partial(run, coroutine.send), partial(run, coroutine.throw)

    @property
    def is_running(self) -> bool:
        """Return whether the agent's code runs just now."""
        return getattr(self.coroutine, "cr_running", False)

    def discard(self) -> None:
        """Let go of the agent's frame; the next event starts a fresh one."""
        self.coroutine = self.send = self.throw = self.gathering = None


class Lots:
    """The lists of rows that one instance takes together; one of which it raised is taken again by halves.

    >>> lots, queue = Lots(), deque([0, 1, 2, 3, 4])
    >>> lots.next(queue, 3), lots.of(2), lots.of(3)
    ([0, 1, 2], [0, 1, 2], [3])
    >>> lots.halve(queue)
    >>> lots.next(queue, 3), lots.next(queue, 3), lots.next(queue, 3)
    ([0], [1, 2], [3, 4])
    """

    __slots__ = ("_last", "_places", "_sizes")

    def __init__(self) -> None:
        self._last: Sequence[int] = ()
        self._sizes: list[int] = []
        self._places: dict[int, int] = {}

    def next(self, queue: deque[int], size: int) -> Sequence[int]:
        """Take up to ``size`` rows from ``queue``, which has one."""
        size = min(self._sizes.pop() if self._sizes else size, size, len(queue))
        self._last = [queue.popleft() for _ in range(size)]
        self._places = {}
        return self._last

    def clear(self) -> None:
        """Forget the lists of the batch before."""
        self._last, self._sizes = (), []

    def of(self, row: int) -> Sequence[int]:
        """Return the rows that the instance works on where the last of them is ``row``."""
        return self._last if self._last and self._last[-1] == row else [row]

    def meant(self, payload: Any, row: int, events: Sequence[Any]) -> int:
        """Return for which row a target is asked while the instance works on ``row`` and those taken with it.

        It is the one whose event ``payload`` is, or has among its arguments; without one, ``row``.
        """
        rows = self.of(row)
        if len(rows) == 1:
            return row
        if not self._places:
            self._places = {id(part): each for each in rows for part in _parts_of(events[each])}
        return next((self._places[id(part)] for part in _given(payload) if id(part) in self._places), row)

    def halve(self, queue: deque[int]) -> None:
        """Put the rows back, to be taken as two lists."""
        middle = len(self._last) // 2
        queue.extendleft(reversed(self._last))
        self._sizes += [len(self._last) - middle, middle]
        self._last = ()


def _parts_of(value: object) -> tuple[object, ...]:
    """Return ``value``, and its parts if it is a pair of a join."""
    return (value, *(cast("tuple[object, ...]", value) if type(value) is tuple else ()))


def _given(payload: object) -> tuple[object, ...]:
    """Return what a target is asked with: the rows that a model is given, or one event."""
    if type(payload) is tuple:
        first = cast("tuple[object, ...]", payload)[0]
        if type(first) is tuple:
            return cast("tuple[object, ...]", first)
    return (cast("object", payload),)


class Gathering:
    """The answers of a ``gather`` so far."""

    __slots__ = ("answers", "error", "open")

    def __init__(self, parts: int) -> None:
        self.answers: list[Any] = [None] * parts
        self.open = parts
        self.error: Exception | None = None

    def take(self, part: int, value: Any, error: Exception | None) -> None:
        """Take in the answer to ``part``; of several errors the first counts."""
        self.answers[part] = value
        self.error = self.error or error
        self.open -= 1


class Foretold(NamedTuple):
    """The answer to a part of a ``gather`` that need not be waited for."""

    value: Any


class Asked:
    """What one target is asked for, and by whom; ``parts`` has the places that are parts of a ``gather``."""

    __slots__ = ("instances", "parts", "payloads")

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.payloads: list[Any] = []
        self.parts: dict[int, int] = {}
