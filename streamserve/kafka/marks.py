"""What is stored beside each committed offset: who committed it, its watermark, and from where its state is read."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

from streamserve.errors import ConfigurationError

TopicPartitionKey: TypeAlias = tuple[str, int]
"""A topic and a partition number."""

_FORMAT = 4


class Progress(NamedTuple):
    """How far a topic partition was processed.

    ``position`` is the first offset that is not done, ``newest`` the newest event time before it, for each channel that
    a regrouped topic comes from. Where rows are taken in the order of their times, some after it are done too: those
    below offset ``seen`` that are late or stand before ``frontier``, a time and an offset. Which are late follows from
    the log: at the position time had come to ``watermark_ms``, and ``allowed`` has the lateness, in milliseconds, that
    holds from an offset on, for each since the position.
    """

    position: int
    newest: tuple[int | None, ...] = ()
    seen: int | None = None
    frontier: tuple[int, int] | None = None
    watermark_ms: int | None = None
    allowed: tuple[tuple[int, int], ...] = ()

    @property
    def skips(self) -> bool:
        """Return whether some rows after the position are done."""
        return self.seen is not None and self.seen > self.position


class OffsetMark(msgspec.Struct, frozen=True, array_like=True):
    """The metadata of a committed offset (Kafka allows 4,096 bytes).

    It takes under 300, and 20 more for each partition that a regrouped topic comes from.

    >>> mark = OffsetMark("host-0", 1_000, 42)
    >>> OffsetMark.decode(mark.encode()) == mark
    True
    >>> OffsetMark.decode("written by something else") is None
    True
    """

    instance: str
    watermark_ms: int | None
    state_from: int | None
    format: int = _FORMAT
    newest: tuple[int | None, ...] = ()
    seen: int | None = None
    frontier: tuple[int, int] | None = None
    done_watermark_ms: int | None = None
    allowed: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, instance: str, watermark_ms: int | None, state_from: int | None, progress: Progress) -> OffsetMark:
        """Return the mark of ``progress``, committed by ``instance``."""
        return cls(instance, watermark_ms, state_from, _FORMAT, *progress[1:])

    def progress(self, position: int) -> Progress:
        """Return what the mark says of ``position``."""
        return Progress(position, self.newest, self.seen, self.frontier, self.done_watermark_ms, self.allowed)

    def encode(self) -> str:
        """Return the text to commit."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str | None) -> OffsetMark | None:
        """Return the mark, or ``None`` where the text is absent or not ours.

        Raises:
            ConfigurationError: another release wrote it: to go on without it could lose or repeat what it tells of.
        """
        if not text:
            return None
        try:
            mark = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None
        if mark.format != _FORMAT:
            raise ConfigurationError(
                f"committed offsets carry metadata of format {mark.format}, but this release reads {_FORMAT}: run the"
                " release that committed them, or set the group's offsets anew where the app shall go on"
            )
        return mark


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
        return Progress(self.offset) if mark is None else mark.progress(self.offset)
