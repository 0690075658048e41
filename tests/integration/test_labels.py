"""Labels in worker processes on a real broker: their outcomes, whatever kills the workers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from streamserve.testing.checks import read_topic
from tests.integration.apps.judged import WITHIN_S, Asked, Known, judged, labels_of
from tests.integration.driving import START, Driver
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

EVENTS = 1_500
PARTITIONS = 2
PATIENT = {"idle_timeout": "120s"}
"""A pause of the producer is not the end of a partition: nothing is let go because of it."""
DELAYS_S: Sequence[tuple[int, ...]] = ((), (30,), (30, 50), (-20,), (WITHIN_S + 50,))
"""After how many seconds labels come, by kind of event: never, in time, twice, early, late."""


def expected_of(uid: int) -> Iterator[tuple[str, str, int | None]]:
    key, delays = str(uid), DELAYS_S[uid % len(DELAYS_S)]
    if not delays or delays[0] > WITHIN_S:
        yield key, "unlabelled", None
    statuses = ("late",) if delays and delays[0] > WITHIN_S else ("matched", "repeated")
    for delay, status in zip(delays, statuses, strict=False):
        yield key, status, delay * 1000


def inputs() -> list[Asked | Known]:
    """Return all events and labels in the order of their times."""
    made: list[Asked | Known] = []
    for uid in range(EVENTS):
        at = START + timedelta(seconds=uid)
        made.append(Asked(uid, f"user-{uid % 20}", at))
        delays = DELAYS_S[uid % len(DELAYS_S)]
        made += [Known(uid, at + timedelta(seconds=delay), uid % 3 == 0) for delay in delays]
    return sorted(made, key=lambda one: one.at)


def produce(driver: Driver, records: Sequence[Asked | Known], partition: int = -1) -> None:
    producer = Producer(
        {"bootstrap.servers": driver.brokers, "partitioner": "murmur2_random", "enable.idempotence": True}
    )
    for record in records:
        key = record.user if isinstance(record, Asked) else str(record.uid)
        topic = driver.inputs[0] if isinstance(record, Asked) else labels_of(driver.app)
        producer.produce(topic, msgspec.json.encode(record), key.encode(), partition)
    assert producer.flush(30) == 0


def end_time(driver: Driver, seconds: int) -> None:
    """Let the event time of every partition come so far that nothing waits any more."""
    at = START + timedelta(seconds=EVENTS + seconds)
    for partition in range(PARTITIONS):
        produce(driver, [Asked(EVENTS + seconds + partition, "end", at)], partition)
        produce(driver, [Known(2 * EVENTS + seconds + partition, at, truth=True)], partition)


def outcomes(driver: Driver) -> Counter[tuple[str, str, int | None]]:
    records = read_topic(driver.brokers, f"{driver.app}-performance")
    messages = [json.loads(record.value or b"") for record in records]
    matches = [message for message in messages if message["kind"] == "match" and int(message["key"]) < EVENTS]
    return Counter((message["key"], message["status"], message["delay_ms"]) for message in matches)


def test_every_prediction_and_label_ends_once_through_kills_and_a_second_worker(
    brokers: str, topic_name: str, tmp_path: Path
) -> None:
    driver = Driver(brokers, topic_name, "judged", tmp_path, PARTITIONS)
    plan = judged(topic_name, tmp_path).plan()
    specs = topic_specs(plan, {}, partitions=PARTITIONS)
    forever = {"retention.ms": "-1"}
    Admin(load_settings({}, {"bootstrap_servers": brokers})).create(
        [spec if spec.config else type(spec)(spec.name, spec.partitions, forever, spec.purpose) for spec in specs],
        partitions=PARTITIONS,
    )
    everything, step = inputs(), 700
    expected = Counter(one for uid in range(EVENTS) for one in expected_of(uid))
    try:
        for number, start in enumerate(range(0, len(everything), step)):
            worker = driver.start(f"w{number % 2}", **PATIENT)
            done = driver.committed()
            produce(driver, everything[start : start + step])
            wait_until(lambda done=done: driver.committed() > done + 20, driver.logs())
            worker.kill()
        driver.start("w0", **PATIENT)
        driver.start("w1", **PATIENT)
        for seconds in (1_000, 2_000):
            driver.wait_for_inputs()
            end_time(driver, seconds)
        wait_until(lambda: outcomes(driver).total() >= expected.total(), "all outcomes", 90)
        found = outcomes(driver)
        assert (expected - found, found - expected) == (Counter(), Counter())
    finally:
        driver.close()
