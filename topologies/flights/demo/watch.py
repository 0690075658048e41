"""What shows while it runs: counts, speed, drift alarms and how good the predictions are, read from the topics."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from topologies.flights.demo.outcomes import LabelOutcome
from topologies.flights.demo.topics import PARTITIONS
from topologies.flights.events import LATE_AFTER_MINUTES
from topologies.flights.report import auc, log_loss

__all__ = ["Alarm", "LiveScore", "Progress", "Watch"]

_BATCH = 5000
_RATE_WINDOW_S = 5.0
_RECENT = 10_000
_THRESHOLD = 0.5


class Alarm(msgspec.Struct, frozen=True):
    """A drift alarm as the drift topic has it; statistics have another ``kind``."""

    kind: str
    column: str
    detector: str = ""
    partition: int = 0
    event_time: str = ""

    @property
    def date(self) -> str:
        """The day of the event that set it off, UTC."""
        return self.event_time[:10]


class _Delay(msgspec.Struct):
    flight_id: str
    probability: float


class _Arrival(msgspec.Struct):
    flight_id: str
    delay: int


class LiveScore:
    """How good the last 10,000 predictions were whose flights have landed.

    >>> score = LiveScore()
    >>> score.predicted("2013-01-01-UA-1-EWR", 0.9)
    >>> score.arrived("2013-01-01-UA-1-EWR", late=True)
    >>> score.judged, score.right_share
    (1, 1.0)
    """

    def __init__(self) -> None:
        self.judged = 0
        self._waiting: dict[str, float] = {}
        self._early: dict[str, bool] = {}
        self._recent: deque[tuple[bool, float]] = deque(maxlen=_RECENT)

    def predicted(self, flight_id: str, probability: float) -> None:
        """Take in a prediction; its arrival may be known already, where the replay is ahead."""
        late = self._early.pop(flight_id, None)
        if late is None:
            self._waiting[flight_id] = probability
        else:
            self._judge(late, probability)

    def arrived(self, flight_id: str, *, late: bool) -> None:
        """Take in a label."""
        probability = self._waiting.pop(flight_id, None)
        if probability is None:
            self._early[flight_id] = late
        else:
            self._judge(late, probability)

    def _judge(self, late: bool, probability: float) -> None:
        self.judged += 1
        self._recent.append((late, probability))

    @property
    def right_share(self) -> float | None:
        """Share of right answers at the threshold of one half, ``None`` before the first."""
        right = [late == (probability > _THRESHOLD) for late, probability in self._recent]
        return sum(right) / len(right) if right else None

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve, ``None`` until both classes were seen."""
        return auc(*self._columns()) if self._recent else None

    @property
    def log_loss(self) -> float | None:
        """Mean negative log-likelihood in nats, ``None`` before the first."""
        return log_loss(*self._columns())

    def _columns(self) -> tuple[list[bool], list[float]]:
        return [late for late, _ in self._recent], [probability for _, probability in self._recent]


@dataclass(slots=True)
class Progress:
    """What was seen so far.

    ``matched`` predictions have met their label in the app. ``dead_letters`` are counted by the topic that their
    records came from. ``first_at`` and ``changed_at`` are when the
    first and the latest predictions were seen (``time.monotonic``); before, they are infinite and when watching began.
    ``moved_at`` is when the latest prediction or match was seen.
    """

    predictions: int = 0
    matched: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter[str])
    alarms: list[Alarm] = field(default_factory=list[Alarm])
    score: LiveScore = field(default_factory=LiveScore)
    first_at: float = inf
    changed_at: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)

    @property
    def answered(self) -> int:
        """Flights with an outcome."""
        return self.predictions + self.dead_letters["flights"]


class Watch:
    """Reads what the app commits, as a ``read_committed`` reader outside its group; never commits.

    ``sent_at`` holds moments (``time.monotonic``) by flight id, of flights whose way to a prediction is timed.
    """

    def __init__(self, brokers: str, sent_at: dict[str, float]) -> None:
        self.progress = Progress()
        self._sent_at = sent_at
        self._matched = 0
        self._latencies: deque[float] = deque(maxlen=200)
        self._counts: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._decode_delay = msgspec.json.Decoder(_Delay).decode
        self._decode_arrival = msgspec.json.Decoder(_Arrival).decode
        self._decode_outcome = msgspec.json.Decoder(LabelOutcome).decode
        self._decode_drift = msgspec.json.Decoder(Alarm).decode
        self._take = {
            "delays": self._take_prediction,
            "arrivals": self._take_arrival,
            "flights-drift": self._take_drift,
            "flights-performance": self._take_outcome,
            "flights-dead-letters": self._take_dead_letter,
        }
        self._consumer = _open(brokers, tuple(self._take))

    def poll(self, seconds: float) -> Progress:
        """Take in what has come, waiting up to ``seconds`` for the first of it."""
        first = self._consumer.poll(seconds)
        arrived = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
        for message in arrived:
            if message.error() is None:
                self._take[message.topic() or ""](message)
        self._note_count()
        return self.progress

    @property
    def per_second(self) -> float:
        """Predictions a second, over the last five."""
        (began, before), (now, count) = self._counts[0], self._counts[-1]
        return (count - before) / (now - began) if now > began else 0.0

    @property
    def latency_s(self) -> float | None:
        """Median time from handing a flight to the producer to seeing its prediction, of the latest that were timed."""
        return median(self._latencies) if self._latencies else None

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def _note_count(self) -> None:
        now, count = time.monotonic(), self.progress.predictions
        if self.progress.matched != self._matched:
            self._matched, self.progress.moved_at = self.progress.matched, now
        if count != self._counts[-1][1]:
            self.progress.first_at = min(self.progress.first_at, now)
            self.progress.changed_at = self.progress.moved_at = now
        self._counts.append((now, count))
        while now - self._counts[0][0] > _RATE_WINDOW_S:
            self._counts.popleft()

    def _take_prediction(self, message: Message) -> None:
        delay = self._decode_delay(message.value() or b"")
        self.progress.predictions += 1
        self.progress.score.predicted(delay.flight_id, delay.probability)
        sent = self._sent_at.pop(delay.flight_id, None)
        if sent is not None:
            self._latencies.append(time.monotonic() - sent)

    def _take_arrival(self, message: Message) -> None:
        arrival = self._decode_arrival(message.value() or b"")
        self.progress.score.arrived(arrival.flight_id, late=arrival.delay > LATE_AFTER_MINUTES)

    def _take_outcome(self, message: Message) -> None:
        self.progress.matched += self._decode_outcome(message.value() or b"").status == "matched"

    def _take_drift(self, message: Message) -> None:
        alarm = self._decode_drift(message.value() or b"")
        if alarm.kind == "alarm":
            self.progress.alarms.append(alarm)

    def _take_dead_letter(self, message: Message) -> None:
        headers: Any = dict(message.headers() or [])
        source = headers.get("source-topic", headers["step"])  # a lost result of a window has no source
        self.progress.dead_letters[source.decode()] += 1


def _open(brokers: str, topics: Sequence[str]) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "flights-demo",  # the client asks for one; nothing joins or commits under it
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
        }
    )
    consumer.assign(
        [TopicPartition(topic, number, OFFSET_BEGINNING) for topic in topics for number in range(PARTITIONS)]
    )
    return consumer
