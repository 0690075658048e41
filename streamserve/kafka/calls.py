"""Every call of the engine that Kafka answers, by name, so that tests can stop the process or raise at any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, ParamSpec, TypeAlias, TypeVar

from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.observer import Observer

P = ParamSpec("P")
R = TypeVar("R")

When: TypeAlias = Literal["before", "after"]
Hook: TypeAlias = Callable[[str, When], None]
"""Told of each call's name, before and after; it may raise, or not return at all."""

CALL_NAMES = (
    "consumer.subscribe",
    "consumer.assign",
    "consumer.poll",
    "consumer.committed",
    "consumer.beginning",
    "consumer.seek",
    "consumer.offsets_for_times",
    "consumer.delete_records",
    "consumer.stable_end",
    "consumer.close",
    "group.describe",
    "group.last_owners",
    "fence.init_transactions",
    "changelog.high_watermark",
    "changelog.read",
    "producer.init_transactions",
    "producer.begin_transaction",
    "producer.produce",
    "producer.flush",
    "producer.send_offsets",
    "producer.commit_transaction",
    "producer.abort_transaction",
)
"""The names, in the order of a worker's life: the crash points that tests enumerate."""


_QUICK = frozenset({"producer.begin_transaction", "producer.produce"})
"""They ask nobody, and are called once per message where messages differ."""


class Calls:
    """Runs named Kafka calls between the two sides of a hook, on clients made by ``clients``.

    ``observer`` is told of those that wait for an answer, in the thread that calls.

    >>> seen = []
    >>> Calls(lambda name, when: seen.append((name, when)))("consumer.poll", len, "abc")
    3
    >>> seen
    [('consumer.poll', 'before'), ('consumer.poll', 'after')]
    """

    def __init__(
        self, hook: Hook | None = None, clients: Clients = KAFKA_CLIENTS, observer: Observer | None = None
    ) -> None:
        self._hook = hook
        self.clients = clients
        self._observer = observer

    def __call__(self, name: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``call``; the hook sees it before and, when it returned, after."""
        if self._observer is None or name in _QUICK:
            return self._between(name, call, *args, **kwargs)
        self._observer.entered("call", name)
        try:
            return self._between(name, call, *args, **kwargs)
        finally:
            self._observer.left()

    def _between(self, name: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``call`` between the two sides of the hook."""
        if self._hook is None:
            return call(*args, **kwargs)
        self._hook(name, "before")
        result = call(*args, **kwargs)
        self._hook(name, "after")
        return result
