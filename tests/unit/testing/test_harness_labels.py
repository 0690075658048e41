"""Labels in a running app, on an in-memory Kafka, with and without faults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics
from sklearn import metrics as exact

from streamserve import App, Batch, Binary, Source, Stream, Topic
from streamserve.observer import Observer
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")
PERFORMANCE = "judged-performance"


class Event(msgspec.Struct, frozen=True):
    id: str
    at: datetime
    p: float = 0.9
    origin: str = "EWR"


class Delay(msgspec.Struct, frozen=True):
    id: str
    probability: float
    origin: str = "EWR"


class Lineal(msgspec.Struct, frozen=True):
    id: str
    probability: float
    model: str
    version: str
    role: str


class Arrival(msgspec.Struct, frozen=True):
    id: str
    at: datetime
    delayed: bool | None = True
    carrier: str = "UA"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def app_with_topics(lateness: str = "0s") -> tuple[App, Topic[Event, str], Topic[Delay, str], Topic[Arrival, str]]:
    app = App("judged")
    return (
        app,
        app.topic("flights", Event, key="origin", event_time="at", max_out_of_orderness=lateness),
        app.topic("delays", Delay, key="id"),
        app.topic("arrivals", Arrival, key="id", event_time="at", max_out_of_orderness=lateness),
    )


def judge(app: App, arrivals: Source[Arrival, str], delays: Topic[Any, str], **more: Any) -> None:
    app.labels(
        arrivals,
        predictions=delays,
        truth=lambda arrival: arrival.delayed,
        score=lambda delay: delay.probability,
        within="100s",
        **more,
    )


def agent_app(
    level: str = "agent", lateness: str = "0s", **more: Any
) -> tuple[App, Topic[Event, str], Topic[Delay, str], Topic[Arrival, str]]:
    app, flights, delays, arrivals = app_with_topics(lateness)
    judge(app, arrivals, delays, **more)
    if level == "score":
        model = app.model("delay", inputs=[Event], output=Binary)
        app.score(flights, model=model, to=delays)
    elif level == "batch":

        @app.batch_agent(flights, to=delays)
        def predict_all(batch: Batch[Event]) -> Sequence[Delay]:  # pyright: ignore[reportUnusedFunction]
            return [Delay(flight.id, flight.p, flight.origin) for flight in batch]

    elif level == "send":

        @app.agent(flights)
        async def send(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
            async for flight in stream:
                await delays.send(Delay(flight.id, flight.p, flight.origin))

    else:

        @app.agent(flights, to=delays)
        async def predict(stream: Stream[Event]) -> AsyncIterator[Delay]:  # pyright: ignore[reportUnusedFunction]
            async for flight in stream:
                yield Delay(flight.id, flight.p, flight.origin)

    return app, flights, delays, arrivals


def score(row: Mapping[str, Any]) -> Binary:
    return Binary(row["p"] >= 0.5, row["p"])


def performance(harness: Harness, kind: str = "match") -> list[dict[str, Any]]:
    messages = [json.loads(record.value() or b"") for record in harness.read_bytes(PERFORMANCE)]
    return [message for message in messages if message["kind"] == kind]


def told(harness: Harness) -> list[tuple[str, str, int | None]]:
    return sorted((it["key"], it["status"], it["delay_ms"]) for it in performance(harness))


def tick(
    harness: Harness, flights: Topic[Event, str], arrivals: Topic[Arrival, str], seconds: float, partitions: int = 3
) -> None:
    """Let every partition's event time come to ``seconds``."""
    with harness.together():
        for partition in range(partitions):
            harness.send(flights, Event(f"tick-{partition}-{seconds}", at(seconds)), partition=partition)
    harness.advance("10s")
    with harness.together():
        for partition in range(partitions):
            harness.send(arrivals, Arrival(f"tock-{partition}-{seconds}", at(seconds)), partition=partition)
    for _ in range(5):
        harness.advance("10s")


@pytest.mark.parametrize("level", ["agent", "batch", "send", "score"])
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_each_prediction_and_label_ends_with_its_status(fault: Fault | None, level: str) -> None:
    app, flights, _, arrivals = agent_app(level)
    origins = ("EWR", "JFK", "LGA", "EWR", "JFK", "LGA")
    names = ("matched", "unlabelled", "repeated", "early", "late", "again")
    with Harness(app, partitions=3, models={"delay": score} if level == "score" else {}) as harness:
        harness.send(arrivals, Arrival("early", at(3)), Arrival("lonely", at(4)))
        harness.send(flights, *(Event(name, at(10 + n), 0.9, origins[n]) for n, name in enumerate(names)))
        if fault is not None:
            harness.fault(fault)
        harness.send(flights, Event("again", at(20), 0.8, "LGA"))
        harness.send(arrivals, Arrival("matched", at(30)), Arrival("repeated", at(31)))
        if fault is not None:
            harness.fault(fault)
        harness.send(arrivals, Arrival("repeated", at(40), delayed=False), Arrival("again", at(41)))
        tick(harness, flights, arrivals, 150)
        if fault is not None:
            harness.fault(fault)
        harness.send(arrivals, Arrival("late", at(151)))
        tick(harness, flights, arrivals, 500)
        found = [one for one in told(harness) if not one[0].startswith("ti") and not one[0].startswith("to")]
        assert found == [
            ("again", "matched", 26_000),
            ("again", "repeated", None),
            ("early", "matched", -10_000),
            ("late", "late", 137_000),
            ("late", "unlabelled", None),
            ("lonely", "unpredicted", None),
            ("matched", "matched", 20_000),
            ("repeated", "matched", 19_000),
            ("repeated", "repeated", 28_000),
            ("unlabelled", "unlabelled", None),
        ]
        lineages = Counter((it["model"], it["version"], it["role"]) for it in performance(harness) if it["score"])
        expected = ("delay", "function", "champion") if level == "score" else ("unknown", "unknown", "unknown")
        assert set(lineages) == {expected}
        assert harness.dead_letters() == []


def test_predictions_are_given_up_though_no_label_ever_comes() -> None:
    app, flights, _, arrivals = agent_app()
    with Harness(app) as harness:
        harness.send(flights, Event("a", at(0)))
        harness.send(arrivals, Arrival("a", at(1)))
        for seconds in (10, 200, 300):
            harness.send(flights, Event(f"at-{seconds}", at(seconds)))
            for _ in range(3):
                harness.advance("10s")
        assert told(harness) == [("a", "matched", 1_000), ("at-10", "unlabelled", None)]


LATENESS = 40

PLANS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.none() | st.integers(-150, 190),
        st.sampled_from(["EWR", "JFK", "LGA"]),
        st.tuples(st.integers(0, LATENESS), st.integers(0, LATENESS)),
    ),
    min_size=1,
    max_size=12,
)
"""A flight's time, its label's after it, its origin, and how long after their times both arrive."""


@settings(max_examples=25, deadline=None)
@given(PLANS, st.booleans(), st.randoms(use_true_random=False), st.sampled_from([None, *FAULTS]))
def test_statuses_follow_from_event_times_alone(
    plans: list[tuple[int, int | None, str, tuple[int, int]]], in_order: bool, chance: Any, fault: Fault | None
) -> None:
    """Whatever the order within the allowed lateness, the polls and the faults, each flight's two times decide."""
    app, flights, _, arrivals = agent_app(lateness="0s" if in_order else f"{LATENESS}s")
    expected: list[tuple[str, str, int | None]] = []
    events: list[tuple[float, Topic[Any, str], Any]] = []
    for number, (seconds, delay, origin, behind) in enumerate(plans):
        key = f"f{number:02}"
        first, second = (0, 0) if in_order else behind
        events.append((seconds + first, flights, Event(key, at(1_000 + seconds), origin=origin)))
        if delay is not None:
            events.append((seconds + delay + second, arrivals, Arrival(key, at(1_000 + seconds + delay))))
        if delay is not None and abs(delay) <= 100:
            expected.append((key, "matched", delay * 1_000))
            continue
        expected.append((key, "unlabelled", None))
        if delay is not None:
            expected.append((key, "late", delay * 1_000) if delay > 0 else (key, "unpredicted", None))
    with Harness(app, partitions=3) as harness:
        tick(harness, flights, arrivals, 0)
        for _, topic, event in sorted(events, key=lambda one: one[0]):
            if fault is not None and chance.random() < 0.2:
                harness.fault(fault)
            harness.send(topic, event)
            if chance.random() < 0.1:
                harness.advance("1s")
        tick(harness, flights, arrivals, 10_000)
        tick(harness, flights, arrivals, 20_000)
        assert [one for one in told(harness) if one[0].startswith("f")] == sorted(
            expected, key=lambda one: (one[0], one[1])
        )


def test_reports_come_with_windows_and_fit_the_pairs() -> None:
    counts: Counter[tuple[str, ...]] = Counter()

    class Watcher(Observer):
        def labelled(self, labels: str, status: str, records: int) -> None:
            counts[labels, status] += records

        def performance(
            self,
            labels: str,
            model: str,
            version: str,
            slice_: str,
            window: str,
            partition: int,
            figures: Mapping[str, float],
        ) -> None:
            del partition
            counts[labels, model, version, slice_, window, *sorted(figures)] += 1

    app, flights, _, arrivals = agent_app("score", slices=["origin"], window="1h", metrics=[metrics.MCC()])
    with Harness(app, models={"delay": score}, observer=Watcher()) as harness:
        for n in range(20):
            harness.send(flights, Event(f"f{n}", at(n), n / 20, "EWR" if n % 2 else "JFK"))
        for n in range(20):
            harness.send(arrivals, Arrival(f"f{n}", at(n + 30), delayed=n >= 12))
        tick(harness, flights, arrivals, 3_700, 1)
        tick(harness, flights, arrivals, 3_900, 1)
        reports = [it for it in performance(harness, "metrics") if it["window_start"] is not None and it["model"]]
        assert {(it["version"], it["slice"]): it["pairs"] for it in reports} == {
            (None, None): 20,
            ("function", None): 20,
            (None, "origin=EWR"): 10,
            (None, "origin=JFK"): 10,
        }
        [whole] = [it for it in reports if it["version"] is None and it["slice"] is None]
        assert whole["metrics"]["Accuracy"] == 18 / 20
        assert whole["metrics"]["ROCAUC"] == pytest.approx(1)
        assert "MCC" in whole["metrics"]
        assert whole["counts"] == {"matched": 20}
    assert counts["delays-labels", "matched"] == 20
    assert any(key[:2] == ("delays-labels", "delay") and key[4] == "last" and "ROCAUC" in key for key in counts)


def test_what_cannot_be_a_truth_or_a_score_is_one_dead_letter() -> None:
    app, flights, delays, arrivals = app_with_topics()

    def truth(arrival: Arrival) -> Any:
        if arrival.carrier == "raise":
            raise ValueError("secret")
        return 7 if arrival.carrier == "seven" else arrival.delayed

    @app.agent(flights, to=delays)
    async def predict(stream: Stream[Event]) -> AsyncIterator[Delay]:  # pyright: ignore[reportUnusedFunction]
        async for flight in stream:
            yield Delay(flight.id, flight.p)

    app.labels(arrivals, predictions=delays, truth=truth, score=lambda it: it.probability, within="100s", name="late")
    with Harness(app) as harness:
        harness.send(flights, Event("a", at(0)), Event("b", at(0), 1.5), Event("c", at(0)), Event("d", at(0)))
        harness.send(arrivals, Arrival("a", at(1), carrier="raise"), Arrival("c", at(1), carrier="seven"))
        harness.send(arrivals, Arrival("d", at(1), delayed=None), Arrival("a", at(2)), Arrival("b", at(2)))
        harness.send_bytes(arrivals, msgspec.json.encode(Arrival("x", at(3))), key=None)
        harness.advance("10s")
        tick_all = [Event("end", at(500))]
        harness.send(flights, *tick_all)
        harness.advance("10s")
        harness.send(arrivals, Arrival("end", at(500)))
        harness.advance("10s")
        letters = {(letter.step, letter.source.topic, letter.key): letter for letter in harness.dead_letters()}
        assert sorted(letters, key=str) == [
            ("late", "arrivals", None),
            ("late", "arrivals", b"a"),
            ("late", "arrivals", b"c"),
            ("late", "judged-late-from-flights-regrouped", b"b"),
        ]
        assert not any("secret" in letter.message for letter in letters.values())
        assert "neither true nor false" in letters["late", "arrivals", b"c"].message
        assert [one for one in told(harness) if one[0] != "end"] == [
            ("a", "matched", 2_000),
            ("b", "unpredicted", None),
            ("c", "unlabelled", None),
            ("d", "unlabelled", None),
        ]


def test_a_value_that_names_its_model_is_believed() -> None:
    app = App("judged")
    flights = app.topic("flights", Event, key="origin", event_time="at")
    delays = app.topic("delays", Lineal, key="id")
    arrivals = app.topic("arrivals", Arrival, key="id", event_time="at")
    model = app.model("delay", inputs=[Event], output=Binary)
    app.score(flights, model=model, to=delays)
    judge(app, arrivals, delays)
    with Harness(app, models={"delay": score}) as harness:
        harness.send(flights, Event("a", at(0)))
        harness.send(arrivals, Arrival("a", at(1)))
        harness.advance("10s")
        [match] = performance(harness)
        assert (match["model"], match["version"], match["role"]) == ("delay", "function", "champion")
        assert (match["event_time"], match["label_time"]) == ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z")


def test_labels_under_another_key_are_regrouped_first() -> None:
    app, flights, delays, _ = app_with_topics()
    arrivals = app.topic("arrivals-by-carrier", Arrival, key="carrier", event_time="at")

    @app.agent(flights, arrivals)
    async def both(stream: Stream[Event | Arrival]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if isinstance(event, Event):
                await delays.send(Delay(event.id, event.p), timestamp=at(9))

    judge(app, arrivals.group_by("id"), delays)
    with Harness(app, partitions=3) as harness:
        for n in range(6):
            harness.send(flights, Event(f"f{n}", at(n), origin=("EWR", "JFK", "LGA")[n % 3]))
            harness.send(arrivals, Arrival(f"f{n}", at(n + 10), carrier=("UA", "AA")[n % 2]))
        for _ in range(5):
            harness.advance("10s")
        assert told(harness) == [(f"f{n}", "matched", 10_000) for n in range(6)]
        assert {record.timestamp for record in harness.read(delays)} == {at(9)}


def test_predictions_that_others_write_are_read_from_their_own_topic() -> None:
    app = App("judged")
    delays = app.topic("delays", Event, key="id", event_time="at")
    arrivals = app.topic("arrivals", Arrival, key="id", event_time="at")
    app.labels(arrivals, predictions=delays, truth=lambda it: it.delayed, score=lambda it: it.p, within="100s")
    with Harness(app, partitions=2) as harness, harness.together():
        harness.send(arrivals, Arrival("a", at(5)))
        harness.send(delays, Event("a", at(0)))
    assert told(harness) == [("a", "matched", 5_000)]


def test_a_prediction_that_the_broker_refuses_is_a_dead_letter_and_no_prediction() -> None:
    app, flights, delays, arrivals = app_with_topics()
    judge(app, arrivals, delays)

    @app.agent(flights, to=delays)
    async def predict(stream: Stream[Event]) -> AsyncIterator[Delay]:  # pyright: ignore[reportUnusedFunction]
        async for flight in stream:
            yield Delay(flight.id, flight.p, "x" * (2_000_000 if flight.id == "large" else 3))

    with Harness(app) as harness:
        harness.send(flights, Event("a", at(0)), Event("large", at(1)), Event("b", at(2)))
        harness.send(arrivals, *(Arrival(name, at(5)) for name in ("a", "large", "b")))
        tick(harness, flights, arrivals, 500, 1)
        assert [letter.step for letter in harness.dead_letters()] == ["predict"]
        assert [one for one in told(harness) if "-" not in one[0]] == [
            ("a", "matched", 5_000),
            ("b", "matched", 3_000),
            ("large", "unpredicted", None),
        ]


def test_predictions_on_their_way_to_labels_tell_no_latency() -> None:
    """Their copies carry event times: of a year that is replayed, they would seem years late."""
    waited: list[float] = []

    class Watcher(Observer):
        def latencies(self, seconds: Sequence[float]) -> None:
            waited.extend(seconds)

    app, flights, _, arrivals = agent_app()
    with Harness(app, observer=Watcher()) as harness:
        harness.send(flights, Event("a", at(-1_000_000)))
        harness.send(arrivals, Arrival("a", at(-999_990)))
        harness.advance("10s")
        assert told(harness) == [("a", "matched", 10_000)]
    assert len(waited) == 2
    assert max(waited) < 60


def test_state_outlives_the_app_and_another_slice_starts_afresh() -> None:
    discarded: list[Sequence[str]] = []

    class Watcher(Observer):
        def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
            discarded.append((state, *reasons))
            assert partition == 0

    app, flights, _, arrivals = agent_app(slices=["origin"])
    with Harness(app) as first:
        first.send(flights, Event("a", at(0)), Event("b", at(1)))
        first.send(arrivals, Arrival("a", at(2)))
        first.advance("10s")
    app, flights, _, arrivals = agent_app(slices=["id"])
    with Harness(app, after=first, observer=Watcher()) as second:
        second.send(arrivals, Arrival("b", at(3)), Arrival("a", at(4)))
        second.advance("10s")
        assert told(second) == [("a", "matched", 2_000), ("a", "repeated", 4_000), ("b", "matched", 2_000)]
    assert discarded == [("labels", "slices by origin: no slice column any more")]


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_reported_metrics_of_classes_are_scikit_learns_on_the_same_pairs(fault: Fault | None) -> None:
    truths, scores = random_pairs(lambda random: random.random(PAIRS) < 0.3)
    app, flights, _, arrivals = agent_app(window="1h")
    reported = reported_metrics(app, flights, arrivals, truths.tolist(), scores.tolist(), fault)
    classes = scores >= 0.5
    assert reported == pytest.approx(
        {
            "Accuracy": exact.accuracy_score(truths, classes),
            "Precision": exact.precision_score(truths, classes),
            "Recall": exact.recall_score(truths, classes),
            "F1": exact.f1_score(truths, classes),
            "LogLoss": exact.log_loss(truths, scores),
            "ROCAUC": pytest.approx(exact.roc_auc_score(truths, scores), abs=1e-3),
            "CalibrationError": calibration_error(truths, scores),
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_reported_metrics_of_numbers_are_scikit_learns_on_the_same_pairs(fault: Fault | None) -> None:
    truths, scores = random_pairs(lambda random: random.normal(size=PAIRS))
    app, flights, delays, _ = app_with_topics()
    lengths = app.topic("lengths", Length, key="id", event_time="at")
    app.labels(
        lengths,
        predictions=delays,
        truth=lambda length: length.length,
        score=lambda delay: delay.probability,
        within="100s",
        task="regression",
        window="1h",
    )

    @app.agent(flights, to=delays)
    async def predict(stream: Stream[Event]) -> AsyncIterator[Delay]:  # pyright: ignore[reportUnusedFunction]
        async for flight in stream:
            yield Delay(flight.id, flight.p, flight.origin)

    reported = reported_metrics(app, flights, lengths, truths.tolist(), scores.tolist(), fault)
    squared = exact.mean_squared_error(truths, scores)
    expected = {"MAE": exact.mean_absolute_error(truths, scores), "RMSE": squared**0.5}
    assert reported == pytest.approx(expected, abs=1e-9)


PAIRS = 300


class Length(msgspec.Struct, frozen=True):
    id: str
    at: datetime
    length: float


def random_pairs(draw: Callable[[np.random.Generator], Any]) -> tuple[Any, Any]:
    """Return truths, and scores between 0 and 1 that know something of them."""
    random = np.random.default_rng(7)
    truths = draw(random)
    return truths, 1 / (1 + np.exp(-(random.normal(size=PAIRS) + truths - 0.5)))


def calibration_error(truths: Any, scores: Any) -> float:
    """Return the expected calibration error over ten bins of equal width, by its definition."""
    bins = (scores * 10).astype(int)
    return sum(abs(float((scores - truths)[bins == number].sum())) for number in range(10)) / PAIRS


def reported_metrics(
    app: App,
    flights: Topic[Event, str],
    labels: Topic[Any, str],
    truths: Sequence[float | bool],
    scores: Sequence[float],
    fault: Fault | None,
) -> Mapping[str, float]:
    """Return the metrics that the performance topic tells of the window with all pairs, a fault midway."""
    with Harness(app, partitions=1) as harness:
        for first in range(0, PAIRS, 100):
            numbers = range(first, first + 100)
            harness.send(flights, *(Event(f"f{n}", at(n), scores[n]) for n in numbers))
            if fault is not None and first == 100:
                harness.fault(fault)
            made: list[Any] = [
                Arrival(f"f{n}", at(n + 30), truth)
                if isinstance(truth := truths[n], bool)
                else Length(f"f{n}", at(n + 30), truth)
                for n in numbers
            ]
            harness.send(labels, *made)
        for seconds in (3_700, 3_900):
            harness.send(flights, Event(f"tick-{seconds}", at(seconds)))
            tock: Any = Arrival if isinstance(truths[0], bool) else Length
            harness.send(labels, tock(f"tock-{seconds}", at(seconds), truths[0]))
            harness.advance("1m")
        [report] = [
            it
            for it in performance(harness, "metrics")
            if it["window_start"] is not None and it["version"] is None and it["slice"] is None and it["pairs"] == PAIRS
        ]
    return report["metrics"]
