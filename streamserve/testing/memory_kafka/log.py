"""The log of one partition, and the transactions that write to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from confluent_kafka import Message

from streamserve.records import Headers


class Outcome(Enum):
    """How a transaction stands."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class StoredOffset(NamedTuple):
    """A committed offset, the next to read, with its metadata."""

    offset: int
    metadata: str | None


@dataclass(eq=False, slots=True)
class LogTransaction:
    """One transaction: the logs that it wrote to, and the offsets that it commits, by group and partition."""

    outcome: Outcome = Outcome.OPEN
    logs: list[PartitionLog] = field(default_factory=list["PartitionLog"])
    offsets: dict[tuple[str, str, int], StoredOffset] = field(default_factory=dict[tuple[str, str, int], StoredOffset])

    def end(self, outcome: Outcome) -> None:
        """Write the markers of ``outcome``."""
        self.outcome = outcome
        for log in self.logs:
            log.append_marker(self)


class _Entry(NamedTuple):
    """One offset of a log: a record, or ``None`` for a marker, which is the broker's own and never delivered."""

    message: Message | None
    sequence: int
    transaction: LogTransaction | None

    def visible(self, *, committed: bool) -> Message | None:
        """Return the record if there is one that the reader may see."""
        aborted = self.transaction is not None and self.transaction.outcome is not Outcome.COMMITTED
        return None if committed and aborted else self.message


class Delivered(NamedTuple):
    """What a read gives: messages, and where the next read goes on."""

    messages: list[Message]
    position: int


class PartitionLog:
    """Records by offset; those of aborted transactions stay, and are passed over by ``read_committed`` readers.

    >>> log = PartitionLog("clicks", 0)
    >>> open_one = LogTransaction()
    >>> log.append(b"k", b"v", (), 0, 0, open_one).offset()
    0
    >>> log.read(0, 10, committed=True)
    Delivered(messages=[], position=0)
    >>> open_one.end(Outcome.COMMITTED)
    >>> [message.value() for message in log.read(0, 10, committed=True).messages], log.end
    ([b'v'], 2)
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._entries: list[_Entry] = []
        self._open: dict[int, int] = {}

    @property
    def end(self) -> int:
        """Return the high watermark: the next offset to be written."""
        return len(self._entries)

    @property
    def stable_end(self) -> int:
        """Return the last stable offset: what is below is decided."""
        return min(self._open.values(), default=self.end)

    def readable_end(self, *, committed: bool) -> int:
        """Return where a reader's view ends."""
        return self.stable_end if committed else self.end

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        sequence: int,
        transaction: LogTransaction | None = None,
    ) -> Message:
        """Write one record, in ``transaction`` or for good; return it as consumers will see it."""
        message = Message(
            topic=self.topic,
            partition=self.partition,
            offset=self.end,
            key=key,
            value=value,
            headers=list(headers) or None,
            timestamp=(1, timestamp_ms),
        )
        if transaction is not None and id(transaction) not in self._open:
            self._open[id(transaction)] = self.end
            transaction.logs.append(self)
        self._entries.append(_Entry(message, sequence, transaction))
        return message

    def append_marker(self, transaction: LogTransaction) -> None:
        """Note that ``transaction``, which wrote here, has ended."""
        del self._open[id(transaction)]
        self._entries.append(_Entry(None, 0, transaction))

    def read(self, position: int, limit: int, *, committed: bool) -> Delivered:
        """Return up to ``limit`` records from ``position`` on."""
        end = self.readable_end(committed=committed)
        messages: list[Message] = []
        while position < end:
            message = self._entries[position].visible(committed=committed)
            if message is not None and len(messages) == limit:
                break
            if message is not None:
                messages.append(message)
            position += 1
        return Delivered(messages, position)

    def committed(self) -> list[tuple[int, Message]]:
        """Return what a ``read_committed`` reader sees, each record with its place in the order of writing."""
        seen = ((entry.sequence, entry.visible(committed=True)) for entry in self._entries[: self.stable_end])
        return [(sequence, message) for sequence, message in seen if message is not None]
