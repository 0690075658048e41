"""Reads everything back, by readers that share no code with the engine, and counts what is not as it should be."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamserve.testing.checks import Report, SourceHeaders, check_app, end_offsets, iter_topic
from topologies.flights.demo.outcomes import Outcomes
from topologies.flights.demo.quality import PerformanceValue, Quality
from topologies.flights.demo.watch import Alarm
from topologies.flights.events import LATE_AFTER_MINUTES
from topologies.flights.reference import score_offline
from topologies.flights.rolling import ROLLING_INPUTS
from topologies.flights.rows import Rows

__all__ = ["TOLERANCE", "RollingCheck", "Verification", "count_mismatches", "verify"]

TOLERANCE: Final = 1e-6
"""How far a prediction may lie from its offline score: a few roundings of float32 at values up to 1."""

_APP: Final = "flights"
_DEAD_LETTERS: Final = "flights-dead-letters"
_REPLAYED: Final = ("flights", "departures", "weather", "arrivals")
_BLOCK: Final = 8192
_KEPT: Final = 1024
_QUIET: Final[Mapping[str, Any]] = {"log_level": 3}

_Message = tuple[bytes | None, bytes]


class Scheduled(msgspec.Struct, gc=False):
    """What the model takes from the flight itself."""

    flight_id: str
    carrier: str
    origin: str
    dest: str
    hour: int
    weekday: int
    distance: int


class Used(msgspec.Struct):
    """A logged feature row and the flight that it was used for."""

    source_partition: int
    source_offset: int
    features: dict[str, float | None]


class Predicted(msgspec.Struct, gc=False):
    """What was predicted, and by which version of the model."""

    flight_id: str
    probability: float
    version: str


class _Id(msgspec.Struct):
    flight_id: str


class _Arrived(msgspec.Struct):
    flight_id: str
    delay: int


_IDS = msgspec.json.Decoder(_Id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the topics say when all is over.

    ``flights``, ``weather`` and ``departures`` judge the delivery of each topic; ``mismatched`` predictions differ from
    the offline score of their logged row, or have no such row. ``misrolled`` logged rows have other rolling delays than
    the independent computation; ``None``: not compared. ``dead_letters`` are counted by the topic that they came from,
    ``records`` by topic; ``outcomes`` is what the app itself made of predictions and labels, ``quality`` how good it
    says that they were. ``latest`` are keys and values of some of the last flights.
    """

    flights: Report
    weather: Report
    departures: Report
    mismatched: int
    misrolled: int | None
    dead_letters: Mapping[str, int]
    records: Mapping[str, int]
    probabilities: Mapping[str, float]
    labels: Mapping[str, bool]
    outcomes: Outcomes
    quality: Quality
    versions: frozenset[str]
    alarms: Sequence[Alarm]
    latest: Sequence[_Message]


def verify(brokers: str, rolling: Rows | None = None, tell: Callable[[str], None] = lambda _: None) -> Verification:
    """Read all topics of the demo, as a ``read_committed`` reader that belongs to no group.

    ``rolling`` has the rolling delays that flights must have seen, with their ``flight_id``.

    Raises:
        OutageError: a topic cannot be read to its end.
    """
    tell("delivery")
    flights = check_app(
        brokers,
        group=_APP,
        input_topics=["flights"],
        output_topics=["delays"],
        dead_letter_topic=_DEAD_LETTERS,
        uid_of_input=_flight_id,
        uid_of_output=_flight_id,
        config=_QUIET,
    )
    tell("predictions against offline scores")
    scheduled, latest = _flights(brokers)
    predictions = list(_decoded(brokers, "delays", Predicted))
    used = _decoded(brokers, "flights-features", Used)
    check = None if rolling is None else RollingCheck(rolling, scheduled)
    outcomes, quality = _performance(brokers)
    return Verification(
        flights=flights,
        weather=_without_outputs(brokers, "weather"),
        departures=_without_outputs(brokers, "departures"),
        mismatched=count_mismatches(scheduled, used if check is None else check.passed_on(used), predictions),
        misrolled=None if check is None else check.mismatched,
        dead_letters=_dead_letters(brokers),
        records=_sizes(brokers),
        probabilities={each.flight_id: each.probability for each in predictions},
        labels={each.flight_id: each.delay > LATE_AFTER_MINUTES for each in _decoded(brokers, "arrivals", _Arrived)},
        outcomes=outcomes,
        quality=quality,
        versions=frozenset(each.version for each in predictions),
        alarms=[each for each in _decoded(brokers, "flights-drift", Alarm) if each.kind == "alarm"],
        latest=latest,
    )


class RollingCheck:
    """Holds the rolling delays in logged rows against those computed from the whole year's columns.

    ``mismatched`` counts the rows of which one differs, in any bit. ``scheduled`` are the flights by partition and
    offset.
    """

    def __init__(self, rolling: Rows, scheduled: Mapping[tuple[int, int], Scheduled]) -> None:
        columns = (_nullable(rolling[name]) for name in ROLLING_INPUTS)
        self._expected = dict(zip(rolling["flight_id"].tolist(), zip(*columns, strict=True), strict=True))
        self._scheduled = scheduled
        self.mismatched = 0

    def passed_on(self, used: Iterable[Used]) -> Iterator[Used]:
        """Yield ``used``, each row looked at."""
        for row in used:
            flight = self._scheduled.get((row.source_partition, row.source_offset))
            seen = tuple(row.features.get(name) for name in ROLLING_INPUTS)
            self.mismatched += flight is None or seen != self._expected.get(flight.flight_id)
            yield row


def _nullable(column: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124


def _without_outputs(brokers: str, topic: str) -> Report:
    """Judge a topic whose records are taken in, or become dead letters."""
    return check_app(
        brokers,
        group=_APP,
        input_topics=[topic],
        output_topics=[],
        dead_letter_topic=_DEAD_LETTERS,
        filtering=True,
        config=_QUIET,
    )


def count_mismatches(
    scheduled: Mapping[tuple[int, int], Scheduled], used: Iterable[Used], predictions: Sequence[Predicted]
) -> int:
    """Return how many predictions are not the offline score of their logged row.

    ``scheduled`` are the flights by partition and offset. A prediction counts as well if its flight has no logged row,
    or more than one; and so does a logged row without a flight or a prediction.
    """
    by_flight = {each.flight_id: each for each in predictions}
    confirmed: Counter[str] = Counter()
    strays = 0
    for rows in _blocks(used):
        pairs = [(scheduled.get((row.source_partition, row.source_offset)), row) for row in rows]
        known = [(flight, row) for flight, row in pairs if flight is not None and flight.flight_id in by_flight]
        strays += len(pairs) - len(known)
        confirmed.update(_agreeing(known, by_flight))
    return strays + sum(confirmed[each.flight_id] != 1 for each in predictions)


def _agreeing(rows: Sequence[tuple[Scheduled, Used]], by_flight: Mapping[str, Predicted]) -> Iterator[str]:
    """Yield the flights whose prediction is the offline score of their row."""
    versions = {by_flight[flight.flight_id].version for flight, _ in rows}
    for version in versions:
        mine = [pair for pair in rows if by_flight[pair[0].flight_id].version == version]
        inputs = [{**row.features, **msgspec.structs.asdict(flight)} for flight, row in mine]
        ids = [flight.flight_id for flight, _ in mine]
        answered = np.array([by_flight[flight_id].probability for flight_id in ids], np.float32)
        equal = np.abs(answered - score_offline(inputs, version=version)) <= TOLERANCE
        yield from (flight_id for flight_id, agrees in zip(ids, equal.tolist(), strict=True) if agrees)


def _flights(brokers: str) -> tuple[dict[tuple[int, int], Scheduled], list[_Message]]:
    """Return the flights by partition and offset, and some of the last as they stand."""
    decode = msgspec.json.Decoder(Scheduled).decode
    latest: deque[_Message] = deque(maxlen=_KEPT)
    scheduled: dict[tuple[int, int], Scheduled] = {}
    for record in iter_topic(brokers, "flights", config=_QUIET):
        value = record.value or b""
        scheduled[record.partition, record.offset] = decode(value)
        latest.append((record.key, value))
    return scheduled, list(latest)


def _performance(brokers: str) -> tuple[Outcomes, Quality]:
    decode = msgspec.json.Decoder(PerformanceValue).decode
    outcomes, quality = Outcomes(), Quality()
    for record in iter_topic(brokers, "flights-performance", config=_QUIET):
        value = decode(record.value or b"")
        outcomes.add(value)
        quality.add(value, record.partition)
    return outcomes, quality


def _dead_letters(brokers: str) -> dict[str, int]:
    source_of = SourceHeaders()
    sources = (source_of(record) for record in iter_topic(brokers, _DEAD_LETTERS, config=_QUIET))
    return dict(Counter("?" if source is None else source[0] for source in sources))


def _sizes(brokers: str) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for (topic, _), end in end_offsets(brokers, _REPLAYED, config=_QUIET).items():
        sizes[topic] += end
    return dict(sizes)


def _decoded(brokers: str, topic: str, kind: type[Any]) -> Iterator[Any]:
    decode = msgspec.json.Decoder(kind).decode
    return (decode(record.value or b"") for record in iter_topic(brokers, topic, config=_QUIET))


def _flight_id(value: bytes) -> str:
    return _IDS.decode(value).flight_id


def _blocks(rows: Iterable[Used]) -> Iterator[list[Used]]:
    iterator = iter(rows)
    while block := list(islice(iterator, _BLOCK)):
        yield block
