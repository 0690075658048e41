"""The broker is killed under load and started again: nothing is lost or done twice, and work goes on by itself.

``python -m tests.integration.evidence.broker_kills --tries 20``. The app has a table, windows, a regrouped topic and
timers; two workers run it. The broker is this command's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from streamserve.broker.server import LocalBroker
from tests.integration.evidence.trials import SMALL, Evidence, chance_of, options
from tests.integration.state_driving import PATIENT, STEP_MS, StateDriver, spent_events

EVENTS = 3_000
"""For each kill; more than are worked off before it."""
MORE = 500
"""Written once the broker is back, since what is left by then may be held back until event time moves on."""
RESUMES_S = 60.0
RESUMED = "from the broker's return to the next commit"
WORKERS = ("w0", "w1")
STAYING = {"shutdown_timeout": "120s"}
"""Workers outlive an outage of this length: a busy machine takes long to start a broker."""


def run_kills(broker: LocalBroker, driver: StateDriver, evidence: Evidence, tries: int) -> None:
    """Kill ``broker`` again and again, and judge what the app has come to."""
    chance = chance_of(evidence.seed)
    feed = iter(spent_events((EVENTS + MORE) * tries, chance))
    for name in WORKERS:
        driver.start(name, **SMALL, **PATIENT, **STAYING)
    for _ in range(tries):
        before = driver.committed()
        driver.spend(islice(feed, EVENTS))
        driver.wait(lambda before=before: driver.committed() > before, "a commit")
        time.sleep(chance.random() * 0.5)
        evidence.did["records waiting at a kill"] += driver.behind()
        broker.kill()
        time.sleep(chance.random() * 2)
        broker.start()
        began, before = time.monotonic(), driver.committed()
        driver.spend(islice(feed, MORE))
        driver.wait(lambda before=before: driver.committed() > before, "a commit after the outage", 3 * RESUMES_S)
        evidence.took(RESUMED, time.monotonic() - began)
        evidence.wrong(_outlasted(driver, evidence.seconds[RESUMED][-1]))
        evidence.tries += 1
        evidence.say(f"{evidence.tries} kills, {evidence.seconds[RESUMED][-1]:.1f} s to the next commit")
    driver.move_time((EVENTS + MORE) * tries * STEP_MS / 1000 + 3600)
    evidence.wrong(driver.settle())
    evidence.did["inputs"] = sum(driver.written().values())


def _outlasted(driver: StateDriver, seconds: float) -> Sequence[str]:
    """Say who has not outlasted the outage, and whether the next commit took too long."""
    dead = [worker.log.name for worker in driver.workers if not worker.running]
    late = [f"the next commit took {seconds:.0f} s"] if seconds > RESUMES_S else []
    return [*late, *(f"{name} has ended" for name in dead)]


def main() -> int:
    """Kill the broker; return the exit code."""
    given = options(__doc__, tries=20).parse_args()
    evidence = Evidence("broker SIGKILL under load", given.seed)
    with TemporaryDirectory() as folder, LocalBroker(Path(folder) / "broker") as broker:
        driver = StateDriver(broker.address, f"killed-{uuid4().hex[:8]}", "windowed", Path(folder), 2)
        driver.create()
        try:
            run_kills(broker, driver, evidence, given.tries)
        except AssertionError as error:
            evidence.wrong([str(error)])
        finally:
            driver.close()
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
