"""What an agent awaits, as values that a driver answers in batches.

Without ``io=True`` no event loop runs: the driver resumes each agent by hand. With it, the same awaits become futures.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from streamserve.errors import ConfigurationError

if TYPE_CHECKING:
    from streamserve.dataflow.batch import RecordBatch

T = TypeVar("T")


class Answers(NamedTuple):
    """What a target answers: one value per payload; where ``errors`` has one, it is raised instead."""

    values: Sequence[Any]
    errors: Mapping[int, Exception]


UNFORESEEN: Final[Any] = object()
"""Stands for an answer that is not there yet."""


class Ready(Protocol):
    """Answers that are there before they are asked for."""

    def take(self, payload: Any) -> Any:
        """Return the answer to ``payload``, or ``UNFORESEEN``; raise it where it is an error."""
        ...


class Target(Protocol):
    """What answers effects: a feature join or a model, for a whole batch of them at once.

    ``foreseen`` answers first, where it can, while agents are driven that are expected to ask.
    """

    priority: int
    foreseen: Ready | None

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:
        """Answer each payload; ``rows`` says for which row of ``batch`` it is asked."""
        ...

    def forget(self, rows: Collection[int]) -> None:
        """Forget what was asked for ``rows``: their agent raised, and is given them again."""
        ...


class InEventLoop:
    """Whether agents run as asyncio tasks just now, and what turns an effect into a future there."""

    submit: Callable[[Any], Awaitable[Any]] | None = None


Ask: TypeAlias = tuple[Target, Any]
"""A request to a target: a bare pair, since one is made for each look-up and each prediction."""


class Send(NamedTuple):
    """A write to a topic, held back until the event is done."""

    topic: str
    value: Any
    key: Any
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...]


class Gather(NamedTuple):
    """Several awaitables at once; the agent goes on when all are answered."""

    parts: Sequence[Awaitable[Any]]


class Next(NamedTuple):
    """A request for the next event: its value, or its whole record."""

    whole: bool


class Take(NamedTuple):
    """A request for up to ``size`` events that are there together; they are done, or fail, as one."""

    size: int
    whole: bool


NEXT_EVENT = Next(whole=False)
NEXT_RECORD = Next(whole=True)

Effect: TypeAlias = Ask | Send | Gather | Next | Take
"""What an agent's await comes to."""


@types.coroutine
def perform(effect: Effect) -> Generator[Any, Any, Any]:
    """Hand ``effect`` to whatever drives the agent and return its answer.

    A generator-based coroutine: it is awaited as it is, the cheapest await that Python has.
    """
    if InEventLoop.submit is not None:
        return (yield from InEventLoop.submit(effect).__await__())
    return (yield effect)


@types.coroutine
def ask(target: Target | None, payload: Any) -> Generator[Any, Any, Any]:
    """Ask ``target`` and return its answer.

    Raises:
        ConfigurationError: there is no target: no app is running.
    """
    if target is None:
        raise ConfigurationError(
            "features and models answer only inside a running app: in a test give the agent's function plain values"
        )
    if target.foreseen is not None:
        answer = target.foreseen.take(payload)
        if answer is not UNFORESEEN:
            return answer
    if InEventLoop.submit is not None:
        return (yield from InEventLoop.submit((target, payload)).__await__())
    return (yield (target, payload))


async def gather(*awaitables: Awaitable[T]) -> tuple[T, ...]:
    """Await feature look-ups and predictions side by side, with or without ``io=True``.

    Returns the results in the order of the arguments; the first failure is raised.
    """
    return await perform(Gather(awaitables))
