"""The state records of the partition groups, taken apart as their format is documented; shares no code with the engine.

A record is MessagePack of MessagePack: one of the group, in it one of each model's monitoring. Arrays are their bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np

from streamserve.testing.reading import iter_topic
from tests.integration.flights_storm.detection import canonical

__all__ = ["TOPIC", "Monitoring", "RawRows", "read_state"]

TOPIC = "flights-state-changelog"

RawRows: TypeAlias = tuple[bytes, bytes, list[list[str]]]
"""Event times, numbers column by column, and texts column by column."""

_MODEL = "delay"


class _Monitored(msgspec.Struct):
    """The monitoring of a model; what is nested in it is taken apart by position."""

    model: str
    version: str
    length_ms: int
    measures: str
    closed_through: int
    late: int
    ordinal: int
    windows: dict[int, list[Any]]
    rows: list[Any] | None
    detectors: dict[str, tuple[int, dict[str, tuple[str, int, bytes]]]]
    messages: bytes


class _Envelope(msgspec.Struct):
    format: int
    state: _Monitored


class _Group(msgspec.Struct):
    format: int
    states: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What a state record says, with the names of its columns in the order of their arrays."""

    state: _Monitored
    numeric: Sequence[str]
    edges: Mapping[str, Sequence[float]]
    categorical: Sequence[str]
    slices: Sequence[str]

    @classmethod
    def of(cls, record: bytes) -> Monitoring:
        """Take a record apart."""
        group = msgspec.msgpack.decode(record, type=_Group)
        envelope = msgspec.msgpack.decode(group.states[_MODEL], type=_Envelope)
        if (group.format, envelope.format, list(group.states)) != (1, 1, [_MODEL]):
            raise AssertionError(f"{TOPIC}: another format, or more than the monitoring of {_MODEL}")
        numeric, categorical, slices = json.loads(envelope.state.measures)
        return cls(envelope.state, list(numeric), numeric, list(categorical), slices)

    @property
    def head(self) -> dict[str, Any]:
        """Where it stands, and what it has not told yet."""
        state = self.state
        return {
            "ordinal": state.ordinal,
            "version": state.version,
            "closed": state.closed_through,
            "late": state.late,
            "length": state.length_ms,
            "untold": json.loads(state.messages or b"[]"),
        }

    @property
    def waiting(self) -> RawRows:
        """The latest rows, which are not counted yet."""
        if self.state.rows is None:
            return b"", b"", [[] for _ in self.categorical]
        times, numbers, texts = self.state.rows
        return times, numbers, texts

    @property
    def detectors(self) -> Iterator[tuple[tuple[str, str], tuple[int, int, bytes]]]:
        """Column and detector, with how many values the column had, how many alarms there were, and its state."""
        for column, (seen, named) in self.state.detectors.items():
            for name, (_, alarms, pickled) in named.items():
                yield (column, name), (seen, alarms, canonical(pickled))

    @property
    def alarms(self) -> Counter[tuple[int, str, str]]:
        """How many alarms open windows have, by day, column and detector."""
        return Counter(
            {
                (day, column, detector): count
                for day, (_, _, alarms) in self.state.windows.items()
                for column, named in alarms.items()
                for detector, count in named.items()
            }
        )

    @property
    def windows(self) -> Iterator[tuple[tuple[int, str | None, str], dict[str, Any]]]:
        """Day, slice and column of each open window that has rows, with its figures."""
        for day, (total, slices, _) in self.state.windows.items():
            (by_slice,) = slices.values()
            for name, (numeric, categories) in {None: total, **by_slice}.items():
                for column, figures in self._numbers(numeric) if numeric[0] else ():
                    yield (day, name, column), figures
                for column, (counts, _, other, nulls) in zip(self.categorical, categories, strict=True):
                    count = sum(counts.values()) + other
                    if count:
                        figures = {"count": count, "nulls": nulls, "categories": counts, "other": other}
                        yield (day, name, column), figures

    def _numbers(self, numeric: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        rows, counts, moments, histograms = numeric[:4]
        columns = np.frombuffer(moments).reshape(4, -1).T.tolist()
        present = np.frombuffer(counts, dtype=np.int64).tolist()
        for name, count, figures, histogram in zip(self.numeric, present, columns, histograms, strict=True):
            found: dict[str, Any] = {"count": count, "nulls": rows - count}
            if count:
                mean, squares, minimum, maximum = figures
                found |= {"mean": mean, "variance": squares / max(1, count - 1), "minimum": minimum, "maximum": maximum}
            if self.edges[name]:
                found["histogram"] = np.frombuffer(histogram, dtype=np.int64).tolist()
            yield name, found


def read_state(brokers: str) -> dict[int, Monitoring]:
    """Return the last record of each partition."""
    last: dict[int, bytes] = {}
    for record in iter_topic(brokers, TOPIC):
        if record.value:  # others only have their partition registered with a transaction
            last[record.partition] = record.value
    return {partition: Monitoring.of(value) for partition, value in last.items()}
