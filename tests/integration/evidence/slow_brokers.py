"""A broker that answers late for a while, or stands still: nothing is lost or done twice, and work goes on by itself.

``python -m tests.integration.evidence.slow_brokers --tries 20``. In every other try each round trip takes 0.2 to 2 s
longer for a quarter of a minute; in the others the broker's process is stopped (SIGSTOP) for 5 to 20 s. The summary has
what the workers did, what they logged, and how much was committed meanwhile. The broker is this command's own.
"""

from __future__ import annotations

import sys
import time

import psutil

from streamserve.broker.server import LocalBroker
from streamserve.testing.proxy import KafkaProxy
from tests.integration.evidence.outages import Outages, on_own_broker
from tests.integration.evidence.trials import Evidence
from tests.integration.state_driving import StateDriver

LATE_S = (0.2, 2.0)
LATE_FOR_S = 15.0
STOPPED_S = (5.0, 20.0)


def run_slowness(broker: LocalBroker, driver: StateDriver, evidence: Evidence, tries: int) -> None:
    """Have ``broker`` late and stopped in turn, and judge what the app has come to."""
    with KafkaProxy(broker.address) as proxy:
        outages = Outages(driver, evidence, tries, bootstrap_servers=proxy.address)
        for number in range(tries):
            outages.burden()
            before = outages.committed()
            if number % 2:
                name = _stand_still(broker, outages.chance.uniform(*STOPPED_S))
            else:
                name = _be_late(proxy, outages.chance.uniform(*LATE_S))
            outages.resume(name)
            evidence.did[f"{name}, committed meanwhile"] += outages.committed() - before
        outages.judge()


def _be_late(proxy: KafkaProxy, seconds: float) -> str:
    proxy.latency_s = seconds / 2  # there, and back
    time.sleep(LATE_FOR_S)
    proxy.latency_s = 0.0
    return "late by more than 1 s" if seconds > 1 else "late by up to 1 s"


def _stand_still(broker: LocalBroker, seconds: float) -> str:
    process = psutil.Process(broker.running.pid)
    process.suspend()
    try:
        time.sleep(seconds)
    finally:
        process.resume()
    return "stopped"


if __name__ == "__main__":
    sys.exit(on_own_broker("slow broker under load", __doc__, run_slowness))
