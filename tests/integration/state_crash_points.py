"""Deaths before and after every call that Kafka answers, of an app with a table on disk, windows and regrouped topics.

``python -m tests.integration.state_crash_points`` goes through all of the calls; the test through some of them.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.broker.server import LocalBroker
from streamserve.kafka.calls import CALL_NAMES
from tests.integration.crash_points import EVENTS, Death, deaths
from tests.integration.state_driving import PATIENT, SMALL, StateDriver, own_driver, spent_events
from tests.integration.waiting import WaitTooLong

PARTITIONS = 2


def topology_of(call: str) -> str:
    """Return the app that comes to ``call``: with windows it commits too often to fail while a transaction is open."""
    return "counted" if call == "producer.abort_transaction" else "stored"


def survive(driver: StateDriver, call: str) -> list[str]:
    """Let workers die before and after ``call``; return what is wrong after another has gone on.

    Raises:
        AssertionError: a worker did not die, or not all inputs were committed.
    """
    for number, death in enumerate(deaths(call)):
        _die(driver, death, number * EVENTS)
    if driver.topology == "stored":
        driver.move_time(3_600)
    driver.start("w0", **SMALL, **PATIENT, **_disk(driver))
    return driver.settle()


def _die(driver: StateDriver, death: Death, first_uid: int) -> None:
    """Run a worker into its death, with inputs to work on."""
    before = driver.committed() if death.is_stopped else 0  # waits for what others have left open
    driver.spend(spent_events(EVENTS, random.Random(first_uid), first=first_uid))  # noqa: S311 - no secret
    worker = driver.start(death.instance, death.fault, **death.settings, **PATIENT, **_disk(driver))
    if death.is_stopped:
        driver.wait(lambda: driver.committed() > before, "a commit")
    status = worker.stop() if death.is_stopped else worker.wait()
    assert status == -signal.SIGKILL, driver.logs()


def _disk(driver: StateDriver) -> dict[str, str]:
    return {"state_dir": str(driver.folder / "state")}


def main() -> int:
    """Go through all calls; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers")
    parser.add_argument("--calls", nargs="*", default=CALL_NAMES, choices=CALL_NAMES, metavar="CALL")
    given = parser.parse_args()
    failed = 0
    with ExitStack() as stack:
        brokers: str = given.brokers or stack.enter_context(_broker(stack)).address
        for call in given.calls:
            began = time.monotonic()
            with own_driver(topology_of(call), brokers, PARTITIONS) as driver:
                wrong = _survived(driver, call)
            failed += bool(wrong)
            print(f"{call:28} {time.monotonic() - began:6.1f} s  {'; '.join(wrong) or '0 anomalies'}", flush=True)
    print(f"{len(given.calls)} calls, before and after: {failed} with anomalies")
    return 1 if failed else 0


def _broker(stack: ExitStack) -> LocalBroker:
    return LocalBroker(Path(stack.enter_context(TemporaryDirectory())))


def _survived(driver: StateDriver, call: str) -> list[str]:
    try:
        return survive(driver, call)
    except (AssertionError, WaitTooLong) as error:
        return [str(error)]


if __name__ == "__main__":
    sys.exit(main())
