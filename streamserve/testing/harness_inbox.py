"""What was sent to the harness's topics and is not delivered yet."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from streamserve.records import Headers
from streamserve.testing.memory_kafka import Cluster


@dataclass(frozen=True, slots=True)
class Sent:
    """A record on its way; without ``partition`` its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    partition: int | None = None
    headers: Headers = ()


class Inbox:
    """Delivers records to a cluster at once, together with others, or late; ``step`` follows each delivery."""

    def __init__(self, cluster: Cluster, step: Callable[[], None]) -> None:
        self._cluster = cluster
        self._step = step
        self._waiting: list[Sent] = []
        self._late: list[Sent] = []
        self._delays_next = False
        self._gathering = False

    def send(self, records: list[Sent]) -> None:
        """Take ``records``, and deliver them unless they are to wait; then what was late before them."""
        self._waiting += records
        if self._gathering:
            return
        waiting, self._waiting = self._waiting, []
        if self._delays_next:
            self._delays_next = False
            self._late += waiting
            return
        self._deliver(waiting)
        self.deliver_late()

    def delay_next(self) -> None:
        """Keep what is sent next back until after what is sent then."""
        self._delays_next = True

    def deliver_late(self) -> None:
        """Deliver what was kept back, if anything."""
        late, self._late = self._late, []
        if late:
            self._deliver(late)

    @contextmanager
    def gathering(self) -> Generator[None]:
        """Deliver what is sent in the block at its end, all at once."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
        self.send([])

    def _deliver(self, records: list[Sent]) -> None:
        for item in records:
            self._cluster.append(
                item.topic,
                item.value,
                item.key,
                partition=item.partition,
                timestamp_ms=item.timestamp_ms,
                headers=item.headers,
            )
        self._step()
