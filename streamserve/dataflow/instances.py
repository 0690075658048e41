"""What a driver by hand keeps: the instances of its agent, and what they wait for."""

from __future__ import annotations

from collections import deque
from contextvars import copy_context
from functools import partial
from typing import Any


class Instance:
    """One instance of the agent and the events that wait for it."""

    __slots__ = ("coroutine", "gathering", "queue", "row", "send", "throw", "wants_record")

    def __init__(self) -> None:
        self.coroutine: Any = None
        self.send: Any = None
        self.throw: Any = None
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.wants_record = False
        self.gathering: Gathering | None = None

    def start(self, coroutine: Any, *, scoped: bool) -> None:
        """Go on with a fresh frame; ``scoped`` gives it context variables of its own."""
        self.coroutine = coroutine
        self.send, self.throw = coroutine.send, coroutine.throw
        if scoped:
            run = copy_context().run
            self.send, self.throw = partial(run, coroutine.send), partial(run, coroutine.throw)

    def discard(self) -> None:
        """Let go of the agent's frame; the next event starts a fresh one."""
        self.coroutine = self.send = self.throw = self.gathering = None


class Gathering:
    """The answers of a ``gather`` so far."""

    __slots__ = ("answers", "error", "open")

    def __init__(self, parts: int) -> None:
        self.answers: list[Any] = [None] * parts
        self.open = parts
        self.error: Exception | None = None


class Asked:
    """What one target is asked for, and by whom; ``parts`` has the places that are parts of a ``gather``."""

    __slots__ = ("instances", "parts", "payloads")

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.payloads: list[Any] = []
        self.parts: dict[int, int] = {}
