"""What is stored beside each committed offset: who committed it, its watermark, and from where its state is read."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

from streamserve.errors import ConfigurationError
from streamserve.kafka.packing import pack, packed_size, unpack

TopicPartitionKey: TypeAlias = tuple[str, int]
"""A topic and a partition number."""

_FORMAT = 5

METADATA_BYTES = 4096
"""Kafka's default of ``offset.metadata.max.bytes``; metadata has to be shorter (tried: 4,095 pass, 4,096 do not)."""

_SPREAD_MS = 24 * 3_600_000


class Limits(NamedTuple):
    """How far event times of a topic may be from where they are expected, in milliseconds.

    ``late_ms`` is how far behind the newest of their partition, ``future_ms`` how far ahead of the record's own Kafka
    timestamp, ``None`` for any distance.
    """

    late_ms: int = 0
    future_ms: int | None = None


class Progress(NamedTuple):
    """How far a topic partition was processed.

    ``position`` is the first offset that is not done, ``newest`` the newest event time before it, for each channel that
    a regrouped topic comes from. Where rows are taken in the order of their times, some after it are done too: those
    below offset ``seen`` that are late or stand before ``frontier``, a time and an offset. Which are late follows from
    the log: at the position time had come to ``watermark_ms``, and ``allowed`` has the limits that hold from an offset
    on, for each since the position. ``latest_ms`` is the newest time that any channel ever told: one that is idle has
    none in ``newest``.
    """

    position: int
    newest: tuple[int | None, ...] = ()
    seen: int | None = None
    frontier: tuple[int, int] | None = None
    watermark_ms: int | None = None
    allowed: tuple[tuple[int, Limits], ...] = ()
    latest_ms: int | None = None

    @property
    def skips(self) -> bool:
        """Return whether some rows after the position are done."""
        return self.seen is not None and self.seen > self.position


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What every format has."""

    instance: str
    watermark_ms: int | None
    state_from: int | None
    format: int


class _Written(_Head, frozen=True, array_like=True):
    """A mark as it is committed: its newest times are packed."""

    newest: str
    seen: int | None
    frontier: tuple[int, int] | None
    done_watermark_ms: int | None
    allowed: tuple[tuple[int, Limits], ...]
    latest_ms: int | None = None


class OffsetMark(msgspec.Struct, frozen=True):
    """The metadata of a committed offset.

    Kafka allows 4,095 bytes. A mark takes under 400 and, for each partition that a regrouped topic comes from, 4.5
    where their newest times are within a day of one another: see ``most_channels``.

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
    allowed: tuple[tuple[int, Limits], ...] = ()
    latest_ms: int | None = None

    @classmethod
    def of(cls, instance: str, watermark_ms: int | None, state_from: int | None, progress: Progress) -> OffsetMark:
        """Return the mark of ``progress``, committed by ``instance``."""
        return cls(instance, watermark_ms, state_from, _FORMAT, *progress[1:])

    def progress(self, position: int) -> Progress:
        """Return what the mark says of ``position``."""
        return Progress(
            position, self.newest, self.seen, self.frontier, self.done_watermark_ms, self.allowed, self.latest_ms
        )

    def encode(self) -> str:
        """Return the text to commit."""
        written = _Written(
            self.instance,
            self.watermark_ms,
            self.state_from,
            self.format,
            pack(self.newest),
            self.seen,
            self.frontier,
            self.done_watermark_ms,
            self.allowed,
            self.latest_ms,
        )
        return msgspec.json.encode(written).decode()

    @classmethod
    def decode(cls, text: str | None) -> OffsetMark | None:
        """Return the mark, or ``None`` where the text is absent or not ours.

        Raises:
            ConfigurationError: another release wrote it: to go on without it could lose or repeat what it tells of.
        """
        if not text:
            return None
        try:
            found = msgspec.json.decode(text, type=_Head)
            if found.format == _FORMAT:
                return cls._read(msgspec.json.decode(text, type=_Written))
        except (msgspec.DecodeError, ValueError):
            return None
        raise ConfigurationError(
            f"committed offsets carry metadata of format {found.format}, but this release reads {_FORMAT}: run the"
            " release that committed them, or set where the app goes on with 'streamserve offsets reset MODULE:APP'"
        )

    @classmethod
    def _read(cls, mark: _Written) -> OffsetMark:
        return cls(
            mark.instance,
            mark.watermark_ms,
            mark.state_from,
            mark.format,
            unpack(mark.newest),
            mark.seen,
            mark.frontier,
            mark.done_watermark_ms,
            mark.allowed,
            mark.latest_ms,
        )


def most_channels(instance: str, metadata_bytes: int = METADATA_BYTES) -> int:
    """Return from how many partitions a topic may be regrouped, so that its marks fit into an offset's metadata.

    That is so while their newest times are within a day of one another; each doubling of that costs one bit more.

    >>> most_channels("flights-host-0")
    832
    """
    far = 1 << 62
    limits = ((far, Limits(far, far)),) * 2
    rest = len(OffsetMark(instance, -far, far, _FORMAT, (), far, (far, far), -far, limits, far).encode())
    return packed_size(metadata_bytes - 1 - rest, spread=_SPREAD_MS)


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
