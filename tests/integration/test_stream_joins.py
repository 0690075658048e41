"""Stream-stream joins on a real broker: whatever is killed on the way, each pair and each lone row comes once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from confluent_kafka import Producer

from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from streamserve.testing.reading import read_topic
from tests.integration.apps.joins import LATENESS_S, WITHIN_S, Half, Met, joined
from tests.integration.driving import Driver
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

PARTITIONS = 2
ROWS = 1_500
START = datetime(2024, 1, 1, tzinfo=UTC)
Sides = dict[Literal["left", "right"], list[Half]]


def halves(chance: random.Random) -> Sides:
    """Return events of 40 users, two a second on either side, as they arrive within the allowed lateness."""
    sides: Sides = {"left": [], "right": []}
    for side in sides.values():
        rows = [(chance.randrange(ROWS // 2), n, f"user-{chance.randrange(40)}") for n in range(ROWS)]
        rows.sort(key=lambda row: row[0] + chance.uniform(0, LATENESS_S))
        side += [Half(n, user, START + timedelta(seconds=seconds)) for seconds, n, user in rows]
    return sides


def expected(sides: Sides) -> Counter[Met]:
    """Compare every event with every other."""
    within = timedelta(seconds=WITHIN_S)
    pairs = [
        (one, other)
        for one in sides["left"]
        for other in sides["right"]
        if one.user == other.user and abs(one.at - other.at) <= within
    ]
    met = {one.n for one, _ in pairs}, {other.n for _, other in pairs}
    found = [Met(one.n, other.n, one.user) for one, other in pairs]
    found += [Met(one.n, None, one.user) for one in sides["left"] if one.n not in met[0]]
    found += [Met(None, other.n, other.user) for other in sides["right"] if other.n not in met[1]]
    return Counter(found)


def test_kills_and_a_second_worker_leave_each_pair_and_each_lone_row_once(
    brokers: str, topic_name: str, tmp_path: Path
) -> None:
    chance = random.Random(5)  # noqa: S311 - a test's events
    admin, plan = Admin(load_settings({"bootstrap_servers": brokers})), joined(topic_name, tmp_path).plan()
    admin.create(topic_specs(plan, {}, partitions=PARTITIONS), partitions=PARTITIONS)
    sides = halves(chance)
    driver = Driver(brokers, topic_name, "joined", tmp_path, PARTITIONS)
    try:
        for start in range(0, ROWS, ROWS // 3):
            produce(brokers, topic_name, {side: rows[start : start + ROWS // 3] for side, rows in sides.items()})
            worker = driver.start(max_poll_records="50", commit_interval="1ms")
            wait_until(lambda worker=worker: worker.said("ready"), "the worker reads")
            time.sleep(chance.uniform(0, 0.5))
            worker.kill()
        driver.start("w0")
        driver.start("w1")
        produce(brokers, topic_name, {"left": ends(), "right": ends()})
        wanted = expected(sides)
        wait_until(lambda: len(results(brokers, topic_name)) >= wanted.total(), "all pairs", 90)
        assert Counter(results(brokers, topic_name)) == wanted, driver.logs()
    finally:
        driver.close()


def ends() -> list[Half]:
    """Return what brings every partition's event time to the end."""
    return [Half(-1, f"end-{n}", START + timedelta(days=1)) for n in range(30)]


def produce(brokers: str, app: str, sides: Sides) -> None:
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True})
    for side, rows in sides.items():
        for row in rows:
            producer.produce(f"{side}.{app}", msgspec.json.encode(row), row.user.encode())
    assert producer.flush(30) == 0


def results(brokers: str, app: str) -> Sequence[Met]:
    """Return what a ``read_committed`` reader sees, without the ends."""
    found = [msgspec.json.decode(record.value or b"", type=Met) for record in read_topic(brokers, f"out.{app}")]
    return [met for met in found if not met.user.startswith("end")]
