"""A worker whose answers from Kafka are lost or late: no input is lost, and none comes twice."""

from __future__ import annotations

import time

import pytest

from streamserve.testing.proxy import Action, Api, KafkaProxy
from tests.integration.conftest import Drive
from tests.integration.crash_points import EVENTS, SMALL
from tests.integration.driving import events
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

LATE_S = 1.0


@pytest.mark.parametrize("action", ["cut", "delay"])
@pytest.mark.parametrize(
    ("api", "ordinal"),
    [(Api.END_TXN, 3), (Api.ADD_OFFSETS_TO_TXN, 3), (Api.TXN_OFFSET_COMMIT, 3), (Api.FETCH, 3), (Api.HEARTBEAT, 1)],
    ids=lambda value: value.name.lower() if isinstance(value, Api) else None,
)
def test_an_answer_that_is_lost_or_late_leaves_no_anomaly(
    api: Api, ordinal: int, action: Action, brokers: str, drive: Drive
) -> None:
    driver = drive("echo")
    with KafkaProxy(brokers) as proxy:
        struck = proxy.on(api, action, side="answer", first=ordinal, count=1, seconds=LATE_S)
        driver.produce(events(EVENTS))
        worker = driver.start(bootstrap_servers=proxy.address, **SMALL)
        struck.wait()
        driver.produce(events(EVENTS, first=EVENTS))
        driver.wait_for_inputs()
        assert worker.stop() == 0
    report = driver.check()
    assert (report.anomalies, report.committed) == (0, 2 * EVENTS), f"{report}\n{driver.logs()}"


def test_a_worker_whose_network_is_cut_and_slow_goes_on_where_it_was(brokers: str, drive: Drive) -> None:
    driver = drive("echo")
    with KafkaProxy(brokers) as proxy:
        proxy.latency_s = 0.02
        worker = driver.start(bootstrap_servers=proxy.address, **SMALL)
        for number in range(3):
            before = driver.committed()
            driver.produce(events(EVENTS, first=number * EVENTS))
            wait_until(lambda before=before: driver.committed() > before, "a commit")
            with proxy.cut():
                time.sleep(0.5)
        driver.wait_for_inputs()
        assert worker.stop() == 0
    report = driver.check()
    assert (report.anomalies, report.committed) == (0, 3 * EVENTS), f"{report}\n{driver.logs()}"
