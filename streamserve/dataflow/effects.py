"""What an agent awaits, as values that a driver answers in batches.

Without ``io=True`` no event loop runs: the driver resumes each agent by hand. With it, the same awaits become futures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from streamserve.errors import ConfigurationError

if TYPE_CHECKING:
    from streamserve.dataflow.batch import RecordBatch

T = TypeVar("T")


class Target(Protocol):
    """What answers effects: a feature join or a model, for a whole batch of them at once."""

    priority: int

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> list[Any]:
        """Answer each payload with its result or with the exception to raise in the agent.

        ``rows`` says for which row of ``batch`` each is asked.
        """
        ...


class InEventLoop:
    """Whether agents run as asyncio tasks just now, and what turns an effect into a future there."""

    submit: Callable[[Any], Awaitable[Any]] | None = None


class Effect(Awaitable[Any]):
    """One request of an agent to a ``Target``."""

    __slots__ = ("payload", "target")

    def __init__(self, target: Target | None, payload: Any) -> None:
        if target is None:
            raise ConfigurationError(
                "features and models answer only inside a running app: in a test give the agent's function plain values"
            )
        self.target = target
        self.payload = payload

    def __await__(self) -> Generator[Any, Any, Any]:
        if InEventLoop.submit is not None:
            return InEventLoop.submit(self).__await__()
        return self._ask()

    def _ask(self) -> Generator[Any, Any, Any]:
        return (yield self)


class NextEvent(Awaitable[Any]):
    """The await on the stream itself: the agent is done with its event and asks for the next."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, Any]:
        if InEventLoop.submit is not None:
            return InEventLoop.submit(self).__await__()
        return self._ask()

    def _ask(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Send(Awaitable[None]):
    """A write to a topic, held back until the event is done."""

    __slots__ = ("headers", "key", "timestamp_ms", "topic", "value")

    def __init__(
        self,
        topic: str,
        value: Any,
        key: Any,
        timestamp_ms: int,
        headers: tuple[tuple[str, bytes | None], ...],
    ) -> None:
        self.topic = topic
        self.value = value
        self.key = key
        self.timestamp_ms = timestamp_ms
        self.headers = headers

    def __await__(self) -> Generator[Any, Any, None]:
        if InEventLoop.submit is not None:
            return InEventLoop.submit(self).__await__()
        return self._ask()

    def _ask(self) -> Generator[Any, Any, None]:
        yield self


class Gather(Awaitable[tuple[Any, ...]]):
    """Several effects at once; the agent goes on when all are answered."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Awaitable[Any]]) -> None:
        self.parts = parts

    def __await__(self) -> Generator[Any, Any, tuple[Any, ...]]:
        if InEventLoop.submit is not None:
            return InEventLoop.submit(self).__await__()
        return self._ask()

    def _ask(self) -> Generator[Any, Any, tuple[Any, ...]]:
        return (yield self)


NEXT_EVENT = NextEvent()
"""Asks for the next event's value; drivers compare by identity."""

NEXT_RECORD = NextEvent()
"""Asks for the next event's whole record."""


async def gather(*awaitables: Awaitable[T]) -> tuple[T, ...]:
    """Await feature look-ups and predictions side by side, with or without ``io=True``.

    Returns the results in the order of the arguments; the first failure is raised.
    """
    return await Gather(awaitables)
