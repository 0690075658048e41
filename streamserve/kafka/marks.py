"""What is stored beside each committed offset: who committed it, its watermark, and from where its state is read."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

TopicPartitionKey: TypeAlias = tuple[str, int]
"""A topic and a partition number."""

_FORMAT = 3


class Progress(NamedTuple):
    """How far a topic partition was processed.

    ``position`` is the first offset that is not done, ``newest`` the newest event time before it, for each channel that
    a regrouped topic comes from. Where rows are taken in the order of their times, some after it are done too: those
    below offset ``seen`` that are late or stand before ``frontier``, a time and an offset.
    """

    position: int
    newest: tuple[int | None, ...] = ()
    seen: int | None = None
    frontier: tuple[int, int] | None = None


class OffsetMark(msgspec.Struct, frozen=True, array_like=True):
    """The metadata of a committed offset (Kafka allows 4,096 bytes; this takes under 250).

    >>> OffsetMark.decode(OffsetMark("host-0", 1_000, 42).encode())
    OffsetMark(instance='host-0', watermark_ms=1000, state_from=42, newest=(), seen=None, frontier=None, format=3)
    >>> OffsetMark.decode("written by something else") is None
    True
    """

    instance: str
    watermark_ms: int | None
    state_from: int | None
    newest: tuple[int | None, ...] = ()
    seen: int | None = None
    frontier: tuple[int, int] | None = None
    format: int = _FORMAT

    def encode(self) -> str:
        """Return the text to commit."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str | None) -> OffsetMark | None:
        """Return the mark, or ``None`` where the text is absent or not ours."""
        if not text:
            return None
        try:
            mark = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None
        return mark if mark.format == _FORMAT else None


class Committed(msgspec.Struct, frozen=True):
    """A committed offset: the next one to read (``None``: nothing was committed yet) and its mark."""

    offset: int | None
    mark: OffsetMark | None

    @property
    def progress(self) -> Progress | None:
        """Return how far processing had come, or ``None`` before the first commit."""
        if self.offset is None:
            return None
        mark = self.mark
        return Progress(self.offset) if mark is None else Progress(self.offset, mark.newest, mark.seen, mark.frontier)
