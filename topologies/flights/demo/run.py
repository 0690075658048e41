"""The demo from its first stage to its last."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.broker.server import LocalBroker
from topologies.drawing import require_matplotlib
from topologies.flights.dataset import events
from topologies.flights.demo.chaos import Chaos
from topologies.flights.demo.latency import Latency, measure_latency
from topologies.flights.demo.plots import History, draw_plots, read_history
from topologies.flights.demo.replay import Replay
from topologies.flights.demo.screen import Screen
from topologies.flights.demo.summary import Summary
from topologies.flights.demo.topics import make_topics
from topologies.flights.demo.verify import Verification, verify
from topologies.flights.demo.watch import Watch
from topologies.flights.demo.workers import Workers
from topologies.flights.feature_repo import prepare_feature_repo
from topologies.flights.rolling import rolling_rows
from topologies.flights.rows import Rows
from topologies.flights.year import Flights, load_flights

__all__ = ["Options", "run_demo"]

_APP = "topologies.flights.app:app"
_HEAD_START_S = 3.0
_POLL_S = 0.02
_STALL_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run: the first ``events`` flights (``None``: the year), by ``workers`` processes, killed ``kills`` times.

    ``brokers`` names a broker that runs already, on which ``recreate`` allows to delete the demo's topics. ``speed`` is
    event time over wall time; ``None`` goes as fast as it can. ``latency_s`` is how long latency is measured, 0 not.
    ``plots`` is the folder that pictures of drift, quality and summary go to.
    """

    events: int | None = None
    workers: int = 1
    kills: int = 0
    brokers: str | None = None
    recreate: bool = False
    speed: float | None = None
    latency_s: float = 5.0
    plots: Path | None = None


def run_demo(options: Options, screen: Screen) -> Summary:
    """Replay the flights through real workers, read everything back, and measure.

    Broker, feature repository and logs are in temporary folders, which go at the end.

    Raises:
        ConfigurationError: the data set, Java or, for plots, matplotlib is missing.
        TopicError: the broker has the demo's topics already.
        OutageError: the broker or a worker ended, or nothing came for two minutes.
    """
    if options.plots is not None:
        require_matplotlib()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="streamserve-demo-")))
        stack.enter_context(_utc())
        brokers = options.brokers or _local_broker(stack, screen)
        with screen.stage("Read the flights of 2013"):
            year = load_flights()
        count = len(year) if options.events is None else min(options.events, len(year))
        repo = _prepare(brokers, options, year, count, folder, screen)
        settings = {"feature_repo": str(repo)}
        workers = stack.enter_context(Workers(_APP, brokers, count=options.workers, logs=folder, settings=settings))
        return _Run(brokers, options, year, count, workers, screen).run()


class _Run:
    """The part of the demo during which workers run."""

    def __init__(
        self, brokers: str, options: Options, year: Flights, count: int, workers: Workers, screen: Screen
    ) -> None:
        self._brokers = brokers
        self._options = options
        self._year = year
        self._count = count
        self._workers = workers
        self._screen = screen
        self._chaos = Chaos(workers, events=count, kills=options.kills)
        messages = events(None if count == len(year) else count, year=year)
        self._replay = Replay(brokers, messages, speed=options.speed)
        self._watch = Watch(brokers, self._replay.sent_at)

    def run(self) -> Summary:
        """Replay, verify, measure."""
        try:
            seconds = self._score()
        finally:
            self._replay.stop()
            self._watch.close()
        kills = self._workers.kills
        with self._screen.stage("Read everything back"):
            verification = verify(self._brokers, self._rolling())
        history = self._history(verification)
        latency = self._measure(verification)
        summary = Summary(events=self._count, kills=kills, seconds=seconds, verification=verification, latency=latency)
        self._plot(history, summary)
        return summary

    def _score(self) -> float:
        """Return the seconds from when workers were ready to the last prediction seen.

        At full speed the replay goes first. It is many times faster than the workers, so that they always find both
        topics ahead of them and merge weather and flights exactly. Had they to wait, whichever came first would go
        first, and milliseconds are hours of event time here.
        """
        if self._options.speed is None:
            self._begin_replay()
        self._start_workers()
        if self._options.speed is not None:
            self._replay.start()
        began = min(time.monotonic(), self._watch.progress.first_at)
        with self._screen.watching():
            while not self._is_over():
                self._step()
            self._draw(last=True)
        return self._watch.progress.changed_at - began

    def _rolling(self) -> Rows | None:
        """Return what flights must have seen; at a given speed, milliseconds decide which of the topics goes first."""
        if self._options.speed is not None:
            return None
        return {"flight_id": self._year.flight_id, **rolling_rows(self._year)}

    def _begin_replay(self) -> None:
        with self._screen.stage("Begin the replay"):
            self._replay.start()
            give_up = time.monotonic() + _HEAD_START_S
            while not self._replay.done and time.monotonic() < give_up:
                time.sleep(_POLL_S)

    def _start_workers(self) -> None:
        count = len(self._workers.urls)
        with self._screen.stage(f"Start {count} worker{'s' * (count > 1)}"):
            self._workers.start()
            self._workers.wait_until_ready(lambda: self._watch.poll(0))
        self._screen.note(f"Metrics and health: {', '.join(f'{url}/metrics' for url in self._workers.urls)}")

    def _is_over(self) -> bool:
        """Return whether all flights are answered and those that landed judged.

        A run that stands still is over too, for the counts to tell.
        """
        progress = self._watch.progress
        if not self._replay.done:
            return False
        judged = progress.matched >= self._replay.sent["arrivals"]
        if self._chaos.done and judged and progress.answered >= self._count:
            return True
        return time.monotonic() - progress.moved_at > _STALL_S

    def _step(self) -> None:
        progress = self._watch.poll(_POLL_S)
        if self._chaos.step(progress.answered):
            self._screen.note(f"SIGKILL at {progress.answered:,} flights answered; the worker is started again")
        self._workers.check()
        self._draw()

    def _draw(self, *, last: bool = False) -> None:
        self._screen.draw(self._replay, self._watch, self._count, self._workers.kills, last=last)

    def _history(self, verification: Verification) -> History | None:
        """Read what is to be drawn, before more flights are sent to measure latency; ``None`` without plots."""
        if self._options.plots is None:
            return None
        with self._screen.stage("Read drift and live quality"):
            return read_history(self._brokers, max(verification.versions, default=""))

    def _plot(self, history: History | None, summary: Summary) -> None:
        if history is not None and self._options.plots is not None:
            with self._screen.stage("Draw the run"):
                files = draw_plots(history, summary, self._options.plots)
            self._screen.note(f"Pictures: {', '.join(map(str, files))}")

    def _measure(self, verification: Verification) -> Latency | None:
        if not self._options.latency_s or not verification.latest:
            return None
        with self._screen.stage("Measure latency at 1,000 flights a second"):
            self._workers.wait_until_ready()
            return measure_latency(self._brokers, verification.latest, seconds=self._options.latency_s)


def _local_broker(stack: ExitStack, screen: Screen) -> str:
    with screen.stage("Start Kafka"):
        broker = stack.enter_context(LocalBroker())
    screen.note(f"Kafka {broker.running.kafka} at {broker.address}")
    return broker.address


def _prepare(brokers: str, options: Options, year: Flights, count: int, folder: Path, screen: Screen) -> Path:
    """Make topics and the feature repository, as far as ``count`` flights need it."""
    from topologies.flights.app import app

    with screen.stage("Create topics"):
        make_topics(brokers, app.plan(), recreate=options.recreate)
    last = datetime.fromtimestamp(int(year.at[count - 1]) * 60, UTC)
    with screen.stage("Fill the feature store: routes and aircraft"):
        return prepare_feature_repo(folder / "feature_repo", year=year, until=last)


@contextmanager
def _utc() -> Generator[None]:
    """Let this process run in UTC for a while: Feast's SQLite store writes times through the local clock."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
