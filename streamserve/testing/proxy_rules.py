"""What the proxy does to chosen requests and answers, and what it saw of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from streamserve.errors import ConfigurationError
from streamserve.testing.proxy_wire import Request

__all__ = ["Action", "Exchange", "Rule", "Side"]

Side: TypeAlias = Literal["request", "answer"]

Action: TypeAlias = Literal["pass", "hold", "delay", "drop", "cut"]
"""``pass`` only watches; ``hold`` waits for ``Rule.release``, ``delay`` for some seconds; ``drop`` throws away; ``cut``
throws away and breaks the connection."""

_WAITING = ("hold", "delay")


@dataclass(slots=True)
class Exchange:
    """A request and what became of it; times are those of ``time.monotonic``, ``None`` until it is so.

    ``answer`` is the broker's, as a frame with its header.
    """

    request: Request
    arrived_at: float = field(default_factory=time.monotonic)
    sent_at: float | None = None
    answer: bytes | None = None
    answered_at: float | None = None
    delivered_at: float | None = None

    def stage(self, side: Side) -> float | None:
        """Return when the request went on to the broker, or the answer to the client."""
        return self.sent_at if side == "request" else self.delivered_at


class Rule:
    """Chooses requests, or their answers, by API and ordinal, and says what happens to them; made by ``KafkaProxy.on``.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        api: int | None,
        action: Action,
        *,
        side: Side,
        first: int,
        count: int | None,
        seconds: float,
        where: Callable[[Request], bool] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if first < 1 or (count is not None and count < 1) or seconds < 0:
            raise ConfigurationError("a rule's ordinals count from 1, and its delays are 0 s or longer")
        self.action: Action = action
        self.side: Side = side
        self._api, self._where, self._seconds = api, where, seconds
        self._struck = range(first, first + count) if count is not None else None
        self._first = first
        self._matched = 0
        self._loop = loop
        self._changed = threading.Condition()
        self._exchanges: list[Exchange] = []
        self._released = asyncio.Event()

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Return what it has struck so far, in order."""
        with self._changed:
            return tuple(self._exchanges)

    @property
    def held(self) -> int:
        """Return how many of those wait."""
        return sum(exchange.stage(self.side) is None for exchange in self.exchanges if self.action in _WAITING)

    def wait(self, count: int = 1, seconds: float = 60.0) -> Sequence[Exchange]:
        """Return what it has struck once that is ``count`` or more.

        Raises:
            TimeoutError: fewer came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._exchanges) >= count, seconds):
                raise TimeoutError(f"{len(self._exchanges)} of {count} came within {seconds:g} s")
            return tuple(self._exchanges)

    def release(self) -> None:
        """Let go of what is held, in order, and strike no more."""
        self._loop.call_soon_threadsafe(self._released.set)

    # --- of the proxy's own thread --------------------------------------------------------------------------------

    def strikes(self, side: Side, exchange: Exchange) -> bool:
        """Count a request or an answer, and keep it where its turn has come."""
        if side != self.side or self._released.is_set() or self._api not in (None, exchange.request.api):
            return False
        if self._where is not None and not self._where(exchange.request):
            return False
        self._matched += 1
        if self._matched < self._first or (self._struck is not None and self._matched not in self._struck):
            return False
        with self._changed:
            self._exchanges.append(exchange)
            self._changed.notify_all()
        return True

    async def linger(self) -> None:
        """Wait as long as what was struck has to."""
        if self.action == "hold":
            await self._released.wait()
        else:
            await asyncio.sleep(self._seconds)
