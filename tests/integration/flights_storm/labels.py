"""The label join, computed from predictions and labels as they stand in their topics: nothing of the engine is used.

Every flight is predicted once, which keeps it short.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from streamserve.testing.reading import iter_topic
from tests.integration.flights_storm.findings import Finding, compare
from topologies.flights.events import LATE_AFTER_MINUTES

__all__ = ["Entry", "Judged", "judge_labels", "outcomes_of", "state_of"]

_WITHIN_MS = 3 * 24 * 3600 * 1000
_STATE = b"k"
"""Before a record key: what is remembered of it. Other records of the changelog hold metrics."""

Label: TypeAlias = tuple[int, bool]
"""Time and truth."""

Outcome: TypeAlias = tuple[str, bool | None, float | None, int | None]
"""Status, truth, score, and how much later than the prediction the label is."""


class _Delay(msgspec.Struct):
    flight_id: str
    at: datetime
    probability: float
    model: str
    version: str


class _Arrival(msgspec.Struct):
    flight_id: str
    at: datetime
    delay: int


class _Match(msgspec.Struct):
    kind: str
    key: str = ""
    status: str = ""
    truth: bool | None = None
    score: float | None = None
    delay_ms: int | None = None


@dataclass(slots=True)
class Entry:
    """A key's prediction (time, score, model, version), where there is one, and its labels by time."""

    partition: int
    prediction: tuple[int, float, str, str] | None = None
    labels: list[Label] = field(default_factory=list[Label])

    @property
    def fitting(self) -> list[Label]:
        """The labels that are near enough to the prediction."""
        if self.prediction is None:
            return []
        return [label for label in self.labels if abs(label[0] - self.prediction[0]) <= _WITHIN_MS]

    def early(self, watermark_ms: int) -> list[Label]:
        """Return the labels that a prediction may still come for."""
        orphans = [label for label in self.labels if self._is_orphan(label)]
        return [label for label in orphans if label[0] + _WITHIN_MS >= watermark_ms]

    def given_up(self, watermark_ms: int) -> bool:
        """Return whether there is a prediction, and no label for it came in time."""
        return self.prediction is not None and not self.fitting and self.prediction[0] + _WITHIN_MS < watermark_ms

    def _is_orphan(self, label: Label) -> bool:
        return self.prediction is None or label[0] < self.prediction[0] - _WITHIN_MS


@dataclass(frozen=True, slots=True)
class Judged:
    """The findings, and how many outcomes there must be of each status."""

    findings: list[Finding]
    statuses: Mapping[str, int]


def judge_labels(brokers: str, watermarks: Mapping[int, int], changelog: Mapping[tuple[int, bytes], bytes]) -> Judged:
    """Judge the outcomes on the performance topic, and what the join's folded changelog holds at the watermarks."""
    entries = _entries(brokers)
    outcomes = Counter(
        (key, *outcome) for key, entry in entries.items() for outcome in outcomes_of(entry, watermarks[entry.partition])
    )
    states = {
        (entry.partition, key): state
        for key, entry in entries.items()
        if (state := state_of(entry, watermarks[entry.partition])) is not None
    }
    folded = {
        (partition, key[1:].decode()): msgspec.msgpack.decode(value)
        for (partition, key), value in changelog.items()
        if key.startswith(_STATE)
    }
    findings = [
        compare("label outcomes", outcomes, _matches(brokers)),
        compare("fold of flights-outcomes-changelog", states, folded),
    ]
    statuses: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        statuses[outcome[1]] += number
    return Judged(findings, dict(sorted(statuses.items())))


def outcomes_of(entry: Entry, watermark_ms: int) -> Iterator[Outcome]:
    """Yield what becomes of a prediction and its labels once time has come to ``watermark_ms``.

    >>> entry = Entry(0, (0, 0.25, "delay", "3"), [(60_000, True), (90_000, True)])
    >>> list(outcomes_of(entry, 100_000))
    [('matched', True, 0.25, 60000), ('repeated', True, 0.25, 90000)]
    >>> list(outcomes_of(Entry(0, (0, 0.25, "delay", "3")), 1 << 40))
    [('unlabelled', None, 0.25, None)]
    """
    waiting = entry.early(watermark_ms)
    fitting = entry.fitting
    for time_ms, truth in entry.labels:
        if entry.prediction is None or time_ms < entry.prediction[0] - _WITHIN_MS:
            if (time_ms, truth) not in waiting:
                yield "unpredicted", truth, None, None
            continue
        status = "matched" if (time_ms, truth) in fitting[:1] else "repeated" if fitting else "late"
        yield status, truth, entry.prediction[1], time_ms - entry.prediction[0]
    if entry.prediction is not None and entry.given_up(watermark_ms):
        yield "unlabelled", None, entry.prediction[1], None


def state_of(entry: Entry, watermark_ms: int) -> list[Any] | None:
    """Return what must be remembered: predictions for twice the bound, with their label, and early labels.

    >>> state_of(Entry(0, (0, 0.25, "delay", "3"), [(60_000, True)]), 100_000)
    [[[[0, 0.25, 'delay', '3', 'champion', []], [60000, True], False]], []]
    """
    predictions: list[Any] = []
    if entry.prediction is not None and entry.prediction[0] + 2 * _WITHIN_MS >= watermark_ms:
        label = [*entry.fitting[0]] if entry.fitting else None
        predictions.append([[*entry.prediction, "champion", []], label, entry.given_up(watermark_ms)])
    labels = [[*label] for label in entry.early(watermark_ms)]
    return [predictions, labels] if predictions or labels else None


def _entries(brokers: str) -> dict[str, Entry]:
    """Return predictions and labels by key; flights are predicted once, which others judge."""
    entries: dict[str, Entry] = {}
    decode = msgspec.json.Decoder(_Delay).decode
    for record in iter_topic(brokers, "delays"):
        delay = decode(record.value or b"")
        prediction = _ms(delay.at), delay.probability, delay.model, delay.version
        entries[delay.flight_id] = Entry(record.partition, prediction)
    for key, (partition, labels) in _labels(brokers).items():
        entries.setdefault(key, Entry(partition)).labels = sorted(labels, key=lambda label: label[0])
    return entries


def _labels(brokers: str) -> dict[str, tuple[int, list[Label]]]:
    """Return partition and labels by key, in the order of the log."""
    decode = msgspec.json.Decoder(_Arrival).decode
    labels: defaultdict[str, list[Label]] = defaultdict(list)
    partitions: dict[str, int] = {}
    for record in iter_topic(brokers, "arrivals"):
        arrival = decode(record.value or b"")
        labels[arrival.flight_id].append((_ms(arrival.at), arrival.delay > LATE_AFTER_MINUTES))
        partitions[arrival.flight_id] = record.partition
    return {key: (partitions[key], found) for key, found in labels.items()}


def _matches(brokers: str) -> Counter[tuple[str, str, bool | None, float | None, int | None]]:
    decode = msgspec.json.Decoder(_Match).decode
    messages = (decode(record.value or b"") for record in iter_topic(brokers, "flights-performance"))
    return Counter((it.key, it.status, it.truth, it.score, it.delay_ms) for it in messages if it.kind == "match")


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
