"""The broker is killed under load and started again: nothing is lost or done twice, and work goes on by itself.

``python -m tests.integration.evidence.broker_kills --tries 20``. The app has a table, windows, a regrouped topic and
timers; two workers run it. The broker is this command's own.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.broker.server import LocalBroker
from tests.integration.evidence.outages import Outages, outlived
from tests.integration.evidence.trials import Evidence, options
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


def main() -> int:
    """Kill the broker; return the exit code."""
    given = options(__doc__, tries=20).parse_args()
    evidence = Evidence("broker SIGKILL under load", given.seed)
    with TemporaryDirectory() as folder, LocalBroker(Path(folder) / "broker") as broker:
        outlived(
            broker.address, Path(folder), evidence, lambda driver: run_kills(broker, driver, evidence, given.tries)
        )
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
