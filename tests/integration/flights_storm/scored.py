"""The rows that were scored, partition by partition in the order of the log, as the topics have them.

Flights give their own columns, the logged feature rows the rest, predictions the answer; that these belong together is
judged elsewhere.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamserve.testing.reading import iter_topic
from topologies.flights.reference import MODELS
from topologies.flights.rows import STRING_INPUTS

__all__ = ["Floats", "ScoredRows", "manifest_of", "read_scored"]

Floats: TypeAlias = NDArray[np.float64]

_OUTPUTS = ("probability", "label")


class _Flight(msgspec.Struct, gc=False):
    flight_id: str
    carrier: str
    origin: str
    dest: str
    hour: int
    weekday: int
    distance: int
    at: datetime


class _Used(msgspec.Struct):
    source_partition: int
    source_offset: int
    features: dict[str, float | None]


class _Answer(msgspec.Struct, gc=False):
    flight_id: str
    probability: float
    label: bool


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows of one partition in the order in which they were scored; all columns have one length.

    ``times_ms`` are event times (UTC). ``numbers`` have NaN where a value is missing; booleans are 0 and 1.
    """

    times_ms: NDArray[np.int64]
    numbers: Mapping[str, Floats]
    texts: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.times_ms)


def manifest_of(version: str) -> Mapping[str, Any]:
    """Return what the package of a version of the model says of it."""
    return json.loads((MODELS / "delay" / version / "manifest.json").read_bytes())


def read_scored(brokers: str, version: str) -> dict[int, ScoredRows]:
    """Return the rows that have a prediction, by partition of ``flights``."""
    names = [each["name"] for each in manifest_of(version)["inputs"] if each["type"] == "float"]
    answers = _read_answers(brokers)
    used = _read_used(brokers, [name for name in names if name not in _Flight.__struct_fields__])
    decode = msgspec.json.Decoder(_Flight).decode
    gathered: defaultdict[int, list[_Flight]] = defaultdict(list)
    features: defaultdict[int, list[array[float]]] = defaultdict(list)
    for record in iter_topic(brokers, "flights"):
        flight = decode(record.value or b"")
        if flight.flight_id in answers:
            gathered[record.partition].append(flight)
            features[record.partition].append(used[record.partition, record.offset])
    return {
        partition: _rows(flights, np.array(features[partition]), names, answers)
        for partition, flights in gathered.items()
    }


def _read_answers(brokers: str) -> dict[str, tuple[float, bool]]:
    decode = msgspec.json.Decoder(_Answer).decode
    answers = (decode(record.value or b"") for record in iter_topic(brokers, "delays"))
    return {answer.flight_id: (answer.probability, answer.label) for answer in answers}


def _read_used(brokers: str, names: list[str]) -> dict[tuple[int, int], array[float]]:
    """Return the logged features by partition and offset of their flight, in the order of ``names``."""
    decode = msgspec.json.Decoder(_Used).decode
    rows = (decode(record.value or b"") for record in iter_topic(brokers, "flights-features"))
    return {
        (row.source_partition, row.source_offset): array("d", [_number(row.features[name]) for name in names])
        for row in rows
    }


def _rows(
    flights: list[_Flight], features: Floats, names: list[str], answers: Mapping[str, tuple[float, bool]]
) -> ScoredRows:
    own = [name for name in names if name in _Flight.__struct_fields__]
    numbers = {name: np.array([getattr(flight, name) for flight in flights], dtype=np.float64) for name in own}
    numbers |= dict(zip([name for name in names if name not in own], features.T, strict=True))
    answered = np.array([answers[flight.flight_id] for flight in flights], dtype=np.float64)
    return ScoredRows(
        times_ms=np.array([round(flight.at.timestamp() * 1000) for flight in flights], dtype=np.int64),
        numbers={**numbers, **dict(zip(_OUTPUTS, answered.T, strict=True))},
        texts={name: [getattr(flight, name) for flight in flights] for name in STRING_INPUTS},
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value
