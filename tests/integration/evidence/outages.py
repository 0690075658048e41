"""An app with state under load, brokers that fall ill, and the next commit after each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from streamserve.broker.server import LocalBroker
from streamserve.errors import OutageError
from tests.integration.evidence.trials import SMALL, Evidence, chance_of, options
from tests.integration.evidence.workers import reaction
from tests.integration.state_driving import PATIENT, STEP_MS, StateDriver, spent_events

EVENTS = 3_000
"""Before each outage; more than are worked off until then."""
MORE = 500
"""Written after each, since what is left by then may be held back until event time moves on."""
RESUMES_S = 60.0
WORKERS = ("w0", "w1")
STAYING = {"shutdown_timeout": "120s"}
"""Workers outlive an outage of this length: a busy machine takes long to start a broker."""


class Outages:
    """Two workers of an app with a table, windows, a regrouped topic and timers; nobody helps them."""

    def __init__(self, driver: StateDriver, evidence: Evidence, tries: int, **settings: str) -> None:
        self.driver, self.evidence = driver, evidence
        self.chance = chance_of(evidence.seed)
        events = (EVENTS + MORE) * tries
        self._feed = iter(spent_events(events, self.chance))
        self._ends_s = events * STEP_MS / 1000 + 3600
        self._places = [(f"in.{driver.app}", number) for number in range(driver.partitions)]
        self._known = 0
        for name in WORKERS:
            driver.start(name, **SMALL, **PATIENT, **STAYING, **settings)
        self._noted = [0 for _ in driver.workers]

    def burden(self) -> None:
        """Return in the midst of work."""
        before = self.committed()
        self.driver.spend(islice(self._feed, EVENTS), 2 * RESUMES_S)
        self.driver.wait(lambda: self._count() > before, "a commit")
        time.sleep(self.chance.random() * 0.5)
        self.evidence.did["records waiting at an outage"] += self.driver.behind()
        self._noted = [len(worker.lines) for worker in self.driver.workers]

    def resume(self, name: str) -> None:
        """Wait for the next commit from now on; judge how long it took, and who has not lived to see it."""
        began, before = time.monotonic(), self.committed()
        self.driver.spend(islice(self._feed, MORE), 3 * RESUMES_S)
        self.driver.wait(lambda: self._count() > before, f"a commit: {name}", 3 * RESUMES_S)
        seconds = time.monotonic() - began
        self.evidence.took(name, seconds)
        if seconds > RESUMES_S:
            self.evidence.wrong([f"{name}: {seconds:.0f} s"])
        for worker, noted in zip(self.driver.workers, self._noted, strict=True):
            self.evidence.did[f"{name}: {reaction(worker, noted)}"] += 1
            if not worker.running:
                self.evidence.wrong([f"{worker.log.name} has ended"])
        self.evidence.tries += 1
        self.evidence.say(f"{self.evidence.tries}: {name}: {seconds:.1f} s")

    def judge(self) -> None:
        """Let all windows close, and have the checker judge everything."""
        self.driver.move_time(self._ends_s)
        self.evidence.wrong(self.driver.settle())
        self.evidence.did["inputs"] = sum(self.driver.written().values())

    def committed(self) -> int:
        """Return how many inputs are committed, as soon as somebody can say."""
        known = self._known
        self.driver.wait(lambda: self._count() >= known, "an answer about committed offsets", 3 * RESUMES_S)
        return self._known

    def _count(self) -> int:
        """Return what is answered now: fewer than were known where not all partitions are."""
        found = sum(self.driver.committed_of(self._places).values())
        self._known = max(self._known, found)
        return found


def on_own_broker(
    what: str, doc: str | None, run: Callable[[LocalBroker, StateDriver, Evidence, int], None], tries: int = 20
) -> int:
    """Have ``run`` make the tries that the command line asks for, on a broker of its own; return the exit code."""
    given = options(doc, tries).parse_args()
    evidence = Evidence(what, given.seed)
    with TemporaryDirectory() as folder, LocalBroker(Path(folder) / "broker") as broker:
        outlived(broker.address, Path(folder), evidence, lambda driver: run(broker, driver, evidence, given.tries))
    return evidence.conclude()


def outlived(brokers: str, folder: Path, evidence: Evidence, run: Callable[[StateDriver], None]) -> None:
    """Give ``run`` a driver of a new app; what it waits for in vain is an anomaly. Workers end with it."""
    driver = StateDriver(brokers, f"outages-{uuid4().hex[:8]}", "windowed", folder, 2)
    try:
        driver.create()
        run(driver)
    except (AssertionError, OutageError) as error:
        evidence.wrong([f"{type(error).__name__}: {error}"])
    finally:
        driver.close()
