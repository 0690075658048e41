"""What is stored beside each committed offset: who committed it, its watermark, and from where its state is read."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

TopicPartitionKey: TypeAlias = tuple[str, int]
"""A topic and a partition number."""

_FORMAT = 2


class OffsetMark(msgspec.Struct, frozen=True, array_like=True):
    """The metadata of a committed offset (Kafka allows 4,096 bytes; this takes under 250).

    >>> OffsetMark.decode(OffsetMark("host-0", 1_000, 42).encode())
    OffsetMark(instance='host-0', watermark_ms=1000, state_from=42, format=2)
    >>> OffsetMark.decode("written by something else") is None
    True
    """

    instance: str
    watermark_ms: int | None
    state_from: int | None
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
