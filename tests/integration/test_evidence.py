"""Short versions of the commands in ``evidence``; each says how to run the long one."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from streamserve.broker.server import LocalBroker
from streamserve.testing.proxy import Api
from tests.integration.evidence import answers, broker_kills, comebacks, drains, zombies
from tests.integration.evidence.crash_pairs import Tour, run_tour
from tests.integration.evidence.trials import Evidence, plain_driver
from tests.integration.state_driving import StateDriver

pytestmark = pytest.mark.broker

PAIRS = 6


def nothing_is_wrong(evidence: Evidence, tries: int) -> bool:
    assert evidence.anomalies == [], "\n".join(evidence.anomalies)
    return evidence.tries == tries


@pytest.mark.parametrize("app", ["monitored", "stored"])
def test_faults_in_the_recovery_from_faults_leave_no_anomaly(app: str, brokers: str, tmp_path: Path) -> None:
    evidence = Evidence(app, seed=1)
    run_tour(Tour(app, brokers, tmp_path, evidence, tries=PAIRS, seconds=100), 1)
    assert evidence.anomalies == [], "\n".join(evidence.anomalies)
    assert evidence.tries > 0


@pytest.mark.parametrize(("kind", "tries"), [("stopped", 2), ("doubled", 1), ("hijacked", 4)])
def test_owners_that_are_past_commit_nothing(kind: str, tries: int, brokers: str) -> None:
    evidence = Evidence(kind, seed=1)
    zombies.run_round(kind, brokers, tries, evidence)
    assert nothing_is_wrong(evidence, tries)


def test_what_a_stopped_worker_processed_is_what_it_committed(brokers: str) -> None:
    evidence = Evidence("drains", seed=1)
    with plain_driver("claimed", brokers) as driver:
        drains.run_drains(driver, evidence, 3)
    assert nothing_is_wrong(evidence, 3)
    assert evidence.did["inputs"] == evidence.did["outputs, uncommitted ones included"]


def test_the_partitions_of_a_dead_worker_go_on(brokers: str) -> None:
    evidence = Evidence("comebacks", seed=1)
    with plain_driver("claimed", brokers) as driver:
        comebacks.run_comebacks(driver, evidence, 1)
    assert nothing_is_wrong(evidence, 2)
    assert set(evidence.seconds) == {"same_instance", "another_worker"}


@pytest.mark.parametrize("api", answers.APIS, ids=lambda api: api.name.lower())
def test_answers_that_are_late_or_lost_leave_no_anomaly(api: Api, brokers: str) -> None:
    evidence = Evidence("answers", seed=1)
    with plain_driver("claimed", brokers) as driver:
        answers.run_answers(driver, api, evidence, 2)
    assert nothing_is_wrong(evidence, 2)


@pytest.mark.alone
def test_a_broker_that_is_killed_under_load_leaves_no_anomaly(tmp_path: Path) -> None:
    evidence = Evidence("broker kills", seed=1)
    with LocalBroker(tmp_path / "broker") as broker:
        driver = StateDriver(broker.address, f"killed-{uuid4().hex[:8]}", "windowed", tmp_path, 2)
        driver.create()
        try:
            broker_kills.run_kills(broker, driver, evidence, 1)
        finally:
            driver.close()
    assert nothing_is_wrong(evidence, 1)
