"""Records, batches and targets for steps and drivers, without a broker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.effects import Answers, Ready
from streamserve.errors import FeatureRowError


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """A ``RawRecord``; fields stand behind underscores because the client's are methods."""

    _value: bytes | None = b""
    _key: bytes | None = None
    _offset: int = 0
    _partition: int = 0
    _topic: str = "in"
    _timestamp_ms: int = 0
    _headers: list[tuple[str, bytes | None]] | None = None

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return self._key

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return (1, self._timestamp_ms)

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers


def batch_of(
    values: Sequence[Any],
    *,
    keys: Sequence[bytes | None] | None = None,
    partitions: Sequence[int] | None = None,
    first_offset: int = 0,
    topic: str = "in",
    times_ms: Sequence[int] | None = None,
) -> RecordBatch:
    """Return ``values`` as a batch of one topic; offsets count rows, whatever the partition."""
    records = [
        FakeRecord(
            _key=keys[row] if keys else None,
            _offset=first_offset + row,
            _partition=partitions[row] if partitions else 0,
            _topic=topic,
        )
        for row in range(len(values))
    ]
    owners = list(partitions) if partitions else [0] * len(values)
    return RecordBatch("part", topic, records, list(values), partitions=owners, times_ms=times_ms)


@dataclass(eq=False, slots=True)
class FakeTarget:
    """Answers a payload with ``(name, payload)``, and each payload in ``refuses`` with an error."""

    name: str
    priority: int = 0
    refuses: frozenset[Any] = frozenset()
    sizes: list[int] = field(default_factory=list[int])
    forgotten: list[int] = field(default_factory=list[int])
    foreseen: Ready | None = None

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:
        assert batch is not None
        assert len(payloads) == len(rows)
        self.sizes.append(len(payloads))
        errors: Mapping[int, Exception] = {
            place: FeatureRowError(f"refused by {self.name}")
            for place, payload in enumerate(payloads)
            if payload in self.refuses
        }
        return Answers([(self.name, payload) for payload in payloads], errors)

    def forget(self, rows: Collection[int]) -> None:
        self.forgotten.extend(rows)
