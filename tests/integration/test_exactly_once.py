"""Whatever fails on the way, a ``read_committed`` reader sees one outcome for each input, and state that agrees."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from streamserve.broker.server import LocalBroker
from streamserve.kafka.calls import Calls
from streamserve.kafka.transaction import Transaction
from streamserve.settings import load_settings
from streamserve.testing.checks import read_topic
from tests.integration.conftest import Drive, MakeTopics
from tests.integration.driving import FORKS, Driver, events
from tests.integration.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.broker

SMALL = {"max_poll_records": "50", "commit_interval": "1ms"}
GIVEN_UP = 100


def assert_no_anomaly(driver: Driver, *, dead_letters: int = 0) -> None:
    report = driver.check()
    assert report.anomalies == 0, f"{report}\n{driver.logs()}"
    assert (report.committed, report.dead_letters) == (report.inputs, dead_letters)


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("producer.begin_transaction:before:3:raise", "TransactionAborted: begin the transaction"),
        ("producer.produce:before:3:raise", "TransactionAborted: produce to"),
        ("producer.flush:before:3:raise", "TransactionAborted: close the transaction"),
        ("producer.flush:after:3:raise", "TransactionAborted: close the transaction"),
        ("producer.send_offsets:before:3:raise", "TransactionAborted: close the transaction"),
        ("producer.send_offsets:after:3:raise=_TIMED_OUT", "TransactionAborted: close the transaction"),
        ("producer.commit_transaction:before:3:raise", "TransactionAborted: commit"),
        ("producer.commit_transaction:before:3:raise=_TIMED_OUT", "OutcomeUnknown: commit"),
        ("producer.commit_transaction:after:3:raise=_TIMED_OUT", "OutcomeUnknown: commit"),
        ("producer.commit_transaction:after:3:pause:5.5", "OutcomeUnknown: closing took"),
    ],
)
def test_a_failing_call_restarts_the_engine_inside_the_same_process(fault: str, ending: str, drive: Drive) -> None:
    driver = drive("monitored")
    driver.produce(events(500))
    driver.close_windows()
    worker = driver.start(fault=fault, **SMALL)
    driver.wait_for_inputs()
    assert worker.said(ending), driver.logs()
    assert worker.running
    assert_no_anomaly(driver)
    assert driver.drift_counts() == {"x": 500, "value": 500}


def give_up_again_and_again(brokers: str, topic: str) -> None:
    """Close transactions up to 3 ms after their first message; runs in a process of its own."""
    chance = random.Random(1)  # noqa: S311 - no secret
    settings = load_settings({}, {"bootstrap_servers": brokers, "instance": "w0"})
    for _ in range(GIVEN_UP):
        transaction = Transaction(topic, settings, Calls())
        transaction.open()
        transaction.produce_columns(topic, [b"x"], [b"k"], list)
        time.sleep(chance.random() * 0.003)
        transaction.close()


def test_transactions_closed_right_after_their_first_message_leave_the_process_alive(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    """librdkafka 2.16 ends one in fifty such processes on a busy machine, where they are not aborted first."""
    make_topics(topic_name)
    process = FORKS.Process(target=give_up_again_and_again, args=(brokers, topic_name))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    assert read_topic(brokers, topic_name) == []


@pytest.mark.parametrize("topology", ["monitored", "merged"])
def test_a_storm_of_kills_leaves_no_anomaly(topology: str, drive: Drive) -> None:
    driver = drive(topology)
    chance = random.Random(17)  # noqa: S311 - when to kill is no secret
    for storm in range(10):
        for topic in driver.inputs:
            driver.produce(
                events(2_000, first=len(driver.inputs) * 2_000 * storm + 2_000 * driver.inputs.index(topic)), topic
            )
        worker = driver.start(**SMALL)
        before = driver.committed()  # not before the start, which settles what the last one has left open
        wait_until(lambda before=before: driver.committed() > before, "the first commit of this worker")
        time.sleep(chance.random() * 0.3)
        worker.kill()
    driver.close_windows()
    driver.start()
    driver.wait_for_inputs()
    assert_no_anomaly(driver)
    if topology == "monitored":
        assert driver.drift_counts() == {"x": 20_000, "value": 20_000}


def test_a_record_that_leads_to_an_oversize_message_becomes_one_dead_letter(drive: Drive) -> None:
    driver = drive("echo", output_config={"max.message.bytes": "300000"})
    driver.produce(events(500))
    driver.produce(events(1, first=500, size=2_000_000))
    driver.produce(events(500, first=501))
    worker = driver.start(**SMALL)
    driver.wait_for_inputs()
    assert worker.running
    assert worker.said("settled: going on with full batches")
    assert_no_anomaly(driver, dead_letters=1)


def test_a_topic_that_takes_no_full_batch_gets_its_messages_alone(drive: Drive) -> None:
    driver = drive("echo", output_config={"max.message.bytes": "2000"})
    driver.produce(events(3_000, size=100))
    driver.start()
    driver.wait_for_inputs()
    assert_no_anomaly(driver)


def test_records_at_fault_become_one_dead_letter_each(drive: Drive) -> None:
    driver = drive("echo")
    driver.produce(
        [*events(200), b"{", b"", b'{"uid": "a"}', *events(3, first=200, fails=True), *events(200, first=203)]
    )
    driver.start()
    driver.wait_for_inputs()
    assert_no_anomaly(driver, dead_letters=6)


def test_a_worker_told_to_stop_at_a_fault_stops_there_and_commits_nothing_of_it(drive: Drive) -> None:
    driver = drive("strict", partitions=1)
    driver.produce(events(100))
    driver.start(**SMALL)
    driver.wait_for_inputs()
    driver.produce([*events(5, first=100), *events(1, first=105, fails=True)])
    worker = driver.workers[0]
    assert worker.wait() == 1, driver.logs()
    assert worker.said("strict' stops at"), driver.logs()
    report = driver.check()
    assert (report.anomalies, report.committed < 106) == (0, True)


def test_an_unknown_topic_is_named_at_once(drive: Drive) -> None:
    driver = drive("echo")
    driver.app += "-without-topics"
    worker = driver.start()
    assert worker.wait() == 1
    assert worker.said("TopicError: topic 'in."), driver.logs()


def test_a_broker_that_is_not_there_ends_the_worker_after_its_deadline(drive: Drive) -> None:
    driver = drive("echo")
    driver.brokers = "127.0.0.1:9"
    worker = driver.start(shutdown_timeout="3s")
    wait_until(lambda: worker.said("BrokerUnavailable: "), "the first try")
    tried = time.monotonic()
    assert worker.wait() == 1
    assert time.monotonic() - tried < 45
    assert worker.said("No answer from Kafka at 127.0.0.1:9"), driver.logs()


@pytest.mark.alone
def test_a_broker_that_goes_away_under_load_is_waited_for(tmp_path: Path, drive: Drive) -> None:
    with LocalBroker(tmp_path / "own") as broker:
        driver = drive("monitored", brokers=broker.address)
        driver.produce(events(2_000))
        worker = driver.start(**SMALL, shutdown_timeout="120s")  # a busy machine takes long to start a broker
        wait_until(lambda: driver.committed() > 0, "the first commit")
        broker.stop()
        time.sleep(2)
        broker.start()
        driver.produce(events(2_000, first=2_000))
        driver.close_windows()
        driver.wait_for_inputs(150)
        assert worker.running
        assert_no_anomaly(driver)
        assert driver.drift_counts() == {"x": 4_000, "value": 4_000}
        driver.close()
