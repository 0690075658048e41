"""The storm from its first stage to its last."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamserve.app import App
from streamserve.broker.server import LocalBroker
from streamserve.kafka.admin import Admin
from streamserve.settings import Settings
from tests.integration.flights_storm.feed import feed
from tests.integration.flights_storm.findings import Finding
from tests.integration.flights_storm.offsets import Offsets, Place, Stand
from tests.integration.flights_storm.partitions import partition_of
from tests.integration.flights_storm.strikes import SESSION_S, Storm, plan_strikes
from tests.integration.flights_storm.verdict import judge
from topologies.flights.activity import app as activity
from topologies.flights.app import app as flights
from topologies.flights.dataset import Message
from topologies.flights.demo.replay import Replay
from topologies.flights.demo.topics import PARTITIONS, demo_topics
from topologies.flights.demo.workers import Workers
from topologies.flights.feature_repo import prepare_feature_repo
from topologies.flights.year import Flights, load_flights

__all__ = ["INPUTS", "Fed", "Options", "Report", "Watch", "run_storm"]

INPUTS: Mapping[str, tuple[str, ...]] = {
    "flights": ("weather", "departures", "flights", "arrivals"),
    "activity": ("departures", "flights"),
}
"""What each app reads that it has not written."""

_MODULES = {"flights": "topologies.flights.app:app", "activity": "topologies.flights.activity:app"}
_POLL_S = 0.1
_SMALLEST_POLL, _POLLS = 20, 100
"""Small batches, each with a commit of its own: there has to be work left for all strikes, and much to be struck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run: ``events`` flights (``None``: all) of a year that begins with flight ``skip``.

    ``kills`` and ``scales``, numbers of workers one after the other, strike each app. Broker, logs and features are in
    ``folder``, which is to be empty.
    """

    folder: Path
    events: int | None = None
    skip: int = 0
    kills: int = 20
    scales: Sequence[int] = (2, 3, 1, 3, 1)
    seed: int = 1


class Watch:
    """Is told how the run goes on; does nothing."""

    def stage(self, what: str) -> None:
        """Note that something else begins."""

    def fed(self, done: int) -> None:
        """Note that so many records are written."""

    def moved(self, app: str, storm: Storm) -> None:
        """Note how far an app has come."""

    def struck(self, app: str, what: str) -> None:
        """Note a strike."""


@dataclass(slots=True)
class Fed:
    """What went in: records by topic, and the newest event time, in milliseconds, by topic and partition."""

    counts: Counter[str] = field(default_factory=Counter[str])
    newest_ms: dict[Place, int] = field(default_factory=dict[Place, int])

    def passing(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield the messages, noted."""
        for message in messages:
            self.counts[message.topic] += 1
            self.newest_ms[message.topic, partition_of(message.key.decode())] = message.timestamp_ms
            yield message


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to; ``seconds`` is from the first worker's start to the last commit."""

    events: int
    records: int
    seconds: float
    kills: Mapping[str, int]
    rescalings: Mapping[str, int]
    statuses: Mapping[str, int]
    findings: Sequence[Finding]

    @property
    def anomalies(self) -> int:
        """How much is not as it should be."""
        return sum(finding.differing for finding in self.findings)


def run_storm(options: Options, watch: Watch) -> Report:
    """Write all inputs, let both apps go through them while they are struck, and judge what came of it.

    Raises:
        ConfigurationError: the data set or Java is missing.
        OutageError: the broker or a worker ended by itself.
    """
    with ExitStack() as stack:
        watch.stage("start Kafka")
        brokers = stack.enter_context(LocalBroker(options.folder / "broker")).address
        watch.stage("read the flights")
        year = _year_from(options.skip)
        count = len(year) if options.events is None else min(options.events, len(year))
        settings = _prepare(brokers, options.folder, year, count, watch)
        fed = _feed(brokers, year, count, watch)
        watch.stage("run the apps")
        storms = {app: _open_storm(stack, app, brokers, options, settings) for app in INPUTS}
        began = time.monotonic()
        _run(storms, watch)
        seconds = max(storm.moved_at for storm in storms.values()) - began
        for storm in storms.values():
            storm.workers.stop()
        watch.stage("read everything back")
        stands: dict[str, Stand] = {app: storm.offsets.stand() or {} for app, storm in storms.items()}
        verdict = judge(brokers, year, count, fed.newest_ms, stands)
        return Report(
            events=count,
            records=fed.counts.total(),
            seconds=seconds,
            kills={app: storm.workers.kills for app, storm in storms.items()},
            rescalings={app: storm.rescalings for app, storm in storms.items()},
            statuses=verdict.statuses,
            findings=[*_strikes_left(storms), *verdict.findings],
        )


def _year_from(skip: int) -> Flights:
    """Return the flights after the first ``skip``, as if they were the year: nothing is known of those before."""
    year = load_flights()
    return year.take(np.arange(skip, len(year))) if skip else year


def _prepare(brokers: str, folder: Path, year: Flights, count: int, watch: Watch) -> dict[str, str]:
    """Make topics and features as far as they are needed; return the workers' settings."""
    watch.stage("make topics and features")
    specs = {spec.name: spec for app in (activity, flights) for spec in demo_topics(app.plan())}
    Admin(Settings(bootstrap_servers=brokers)).create(list(specs.values()), partitions=PARTITIONS)
    last = datetime.fromtimestamp(int(year.at[count - 1]) * 60, UTC)
    repo = prepare_feature_repo(folder / "feature_repo", year=year, until=last)
    return {
        "feature_repo": str(repo),
        "session_timeout": f"{SESSION_S:g}s",
        "transaction_timeout": "10s",
        "max_poll_records": str(max(_SMALLEST_POLL, count // _POLLS)),
        "commit_interval": "1ms",
        "idle_timeout": "2s",
        "shutdown_timeout": "2m",
    }


def _feed(brokers: str, year: Flights, count: int, watch: Watch) -> Fed:
    """Write everything before the apps start: results follow from what is there, not from what comes when."""
    watch.stage("write the inputs")
    fed = Fed()
    replay = Replay(brokers, fed.passing(feed(year, count)))
    replay.start()
    try:
        while not replay.done:
            watch.fed(fed.counts.total())
            time.sleep(_POLL_S)
    finally:
        replay.stop()
    return fed


def _open_storm(stack: ExitStack, app: str, brokers: str, options: Options, settings: Mapping[str, str]) -> Storm:
    chance = random.Random(f"{options.seed} {app}")  # noqa: S311 - no secret
    declared: App = {"flights": flights, "activity": activity}[app]
    read = [topic for part in declared.plan().parts for topic in part.topics]
    internal = [topic for topic in read if topic not in INPUTS[app]]
    offsets = Offsets(brokers, app, INPUTS[app], internal)
    stack.callback(offsets.close)
    workers = Workers(_MODULES[app], brokers, count=1, logs=options.folder, settings=settings)
    stack.enter_context(workers)
    return Storm(workers, offsets, plan_strikes(options.kills, options.scales, chance), chance)


def _run(storms: Mapping[str, Storm], watch: Watch) -> None:
    """Let the apps run until all is over."""
    for storm in storms.values():
        storm.workers.start()
    while not all(storm.is_over for storm in storms.values()):
        for app, storm in storms.items():
            strike = storm.step()
            watch.moved(app, storm)
            if strike is not None:
                what = "a worker is killed" if strike.workers is None else f"{strike.workers} worker(s) from now"
                watch.struck(app, f"{storm.share:.1%}: {what}")
        time.sleep(_POLL_S)


def _strikes_left(storms: Mapping[str, Storm]) -> Iterator[Finding]:
    for app, storm in storms.items():
        left = len(storm.strikes)
        yield Finding(f"strikes on {app} that were not made", storm.workers.kills + storm.rescalings + left, left)
