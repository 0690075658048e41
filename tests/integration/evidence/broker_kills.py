"""The broker is killed under load and started again: nothing is lost or done twice, and work goes on by itself.

``python -m tests.integration.evidence.broker_kills --tries 20``. The app has a table, windows, a regrouped topic and
timers; two workers run it. The broker is this command's own.
"""

from __future__ import annotations

import sys
import time

from streamserve.broker.server import LocalBroker
from tests.integration.evidence.outages import Outages, on_own_broker
from tests.integration.evidence.trials import Evidence
from tests.integration.state_driving import StateDriver

RESUMED = "from the broker's return to the next commit"


def run_kills(broker: LocalBroker, driver: StateDriver, evidence: Evidence, tries: int) -> None:
    """Kill ``broker`` again and again, and judge what the app has come to."""
    outages = Outages(driver, evidence, tries)
    for _ in range(tries):
        outages.burden()
        broker.kill()
        time.sleep(outages.chance.random() * 2)
        broker.start()
        outages.resume(RESUMED)
    outages.judge()


if __name__ == "__main__":
    sys.exit(on_own_broker("broker SIGKILL under load", __doc__, run_kills))
