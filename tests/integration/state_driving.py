"""Drives worker processes of the apps with state, and judges what came of their inputs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec
from confluent_kafka import Producer
from typing_extensions import override

from streamserve.broker.server import LocalBroker
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from tests.integration.apps.state import LATENESS_S, Spent
from tests.integration.apps.topologies import TOPOLOGIES
from tests.integration.driving import START, Driver, MakeTopics
from tests.integration.state_truth import (
    CLOSING_UID,
    CLOSING_USER,
    Outcomes,
    in_log_order,
    in_time_order,
    wrong_chains,
    wrong_tellings,
    wrong_windows,
)
from tests.integration.waiting import PATIENCE_S, wait_until

STEP_MS = 100
"""Between one event and the next."""
USERS = 60
SHOPS = 6
VISIT_EVENTS = 60
"""So many events in a row are in one shop, so that each shop has pauses."""
SETTLE_S = 40.0

PATIENT = {"idle_timeout": "120s"}
"""A pause of the producer is not the end of a partition: nothing is let go because of it."""
SMALL = {"max_poll_records": "50", "commit_interval": "1ms"}


def spent_events(count: int, chance: random.Random, *, first: int = 0) -> list[Spent]:
    """Return events in an order of arrival that is within the allowed lateness."""
    made = [
        Spent(
            uid,
            f"user-{chance.randrange(USERS)}",
            f"shop-{uid // VISIT_EVENTS % SHOPS}",
            chance.randrange(1000),
            START + timedelta(milliseconds=uid * STEP_MS),
        )
        for uid in range(first, first + count)
    ]
    arrival = {event.uid: event.uid * STEP_MS + chance.uniform(0, LATENESS_S * 1000) for event in made}
    return sorted(made, key=lambda event: arrival[event.uid])


@dataclass(slots=True)
class StateDriver(Driver):
    """An app of ``apps.state`` under test."""

    @override
    def create(self, make_topics: MakeTopics | None = None, output_config: Mapping[str, str] | None = None) -> None:
        """Create all topics that the plan needs; the app's own are kept for ever."""
        del make_topics, output_config
        app = TOPOLOGIES[self.topology](self.app, self.folder)
        admin = Admin(load_settings(app.settings, {"bootstrap_servers": self.brokers}))
        specs = topic_specs(app.plan(), {}, partitions=self.partitions)
        forever = {"retention.ms": "-1"}
        admin.create(
            [spec if spec.config else type(spec)(spec.name, spec.partitions, forever, spec.purpose) for spec in specs],
            partitions=self.partitions,
        )

    def spend(self, events: Iterable[Spent], seconds: float = 60) -> None:
        """Write events under their users, in order."""
        producer = self._producer()
        for event in events:
            producer.produce(f"in.{self.app}", msgspec.json.encode(event), event.user.encode())
        assert producer.flush(seconds) == 0

    def move_time(self, seconds: float) -> None:
        """Write one event to each partition, so late that all windows before it close."""
        producer = self._producer()
        event = Spent(CLOSING_UID, CLOSING_USER, "closing", 0, START + timedelta(seconds=seconds))
        for partition in range(self.partitions):
            producer.produce(f"in.{self.app}", msgspec.json.encode(event), CLOSING_USER.encode(), partition)
        assert producer.flush(30) == 0

    def _producer(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.brokers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
            }
        )

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
        """Wait until ``condition`` holds; else fail with the workers' logs."""
        try:
            wait_until(condition, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def findings(self) -> list[str]:
        """Return what is wrong with all that the app has written, now that its inputs are all committed."""
        outcomes = Outcomes(self.brokers, self.app)
        rows = outcomes.inputs()
        letters = outcomes.dead_letters()
        wrong = [f"{letters} dead letters"] if letters else []
        if self.topology == "counted":
            return [*wrong, *wrong_chains(rows, outcomes, in_log_order)]
        if self.topology == "owing":
            return [*wrong, *wrong_tellings(rows, outcomes)]
        return [
            *wrong,
            *wrong_chains(rows, outcomes, in_time_order),
            *wrong_windows(rows, outcomes),
            *wrong_tellings(rows, outcomes),
        ]

    def settle(self, seconds: float = SETTLE_S) -> list[str]:
        """Return what is still wrong when nothing has changed for a while: regrouped records come after all inputs."""
        held = self.partitions if self.topology in ("windowed", "stored") else 0
        self.wait(lambda: self.behind() <= held, "all inputs committed", 120)
        wrong, give_up = self.findings(), time.monotonic() + seconds
        while wrong and time.monotonic() < give_up:
            time.sleep(1)
            before, wrong = wrong, self.findings()
            if wrong != before:
                give_up = time.monotonic() + seconds
        return wrong


@contextmanager
def own_driver(topology: str, brokers: str | None, partitions: int) -> Generator[StateDriver]:
    """Give a driver outside of pytest, on a broker of its own unless one is named."""
    with TemporaryDirectory() as folder:
        name = f"{topology}-{uuid4().hex[:8]}"
        if brokers is None:
            with LocalBroker(Path(folder) / "broker") as broker:
                yield from _driving(StateDriver(broker.address, name, topology, Path(folder), partitions))
        else:
            yield from _driving(StateDriver(brokers, name, topology, Path(folder), partitions))


def _driving(driver: StateDriver) -> Generator[StateDriver]:
    try:
        driver.create()
        yield driver
    finally:
        driver.close()


def random_fault(chance: random.Random) -> str:
    """Return a death at one side of a call of the commit, some commits on."""
    calls = ("producer.flush", "producer.send_offsets", "producer.commit_transaction", "producer.begin_transaction")
    return f"{chance.choice(calls)}:{chance.choice(('before', 'after'))}:{chance.randrange(2, 20)}:kill"
