"""The apps whose workers are struck: how they are fed and started, and what must have come of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from tests.integration.driving import Driver, WorkerProcess, events
from tests.integration.evidence.trials import chance_of, plain_driver
from tests.integration.evidence.workers import wait_for_inputs_so_far
from tests.integration.state_driving import PATIENT, StateDriver, own_driver, spent_events

__all__ = ["APPS", "Tested", "tested_app"]

EVENTS: Final = 400
SETTINGS: Final = {"max_poll_records": "20", "commit_interval": "1ms", "session_timeout": "2s", **PATIENT}


class Tested(Protocol):
    """An app under test."""

    @property
    def driver(self) -> Driver:
        """Return what drives it."""
        ...

    @property
    def fed(self) -> int:
        """Return how many inputs it has."""
        ...

    def feed(self) -> None:
        """Write ``EVENTS`` more inputs."""
        ...

    def start(self, instance: str, fault: str) -> WorkerProcess:
        """Start a worker."""
        ...

    def findings(self) -> list[str]:
        """Let a worker go on to the end; return what is wrong then."""
        ...


@dataclass(slots=True)
class Plain:
    """The app ``monitored``: features, a model, drift statistics."""

    driver: Driver
    fed: int = 0

    def feed(self) -> None:
        self.driver.produce(events(EVENTS, first=self.fed))
        self.fed += EVENTS

    def start(self, instance: str, fault: str) -> WorkerProcess:
        return self.driver.start(instance, fault, **SETTINGS)

    def findings(self) -> list[str]:
        self.driver.close_windows()
        self.start("w0", "")
        wait_for_inputs_so_far(self.driver)
        report = self.driver.check()
        wrong = [text for texts in report.examples.values() for text in texts]
        counts, expected = self.driver.drift_counts(), {"x": self.fed, "value": self.fed}
        return wrong if counts == expected else [*wrong, f"drift statistics count {counts}, not {expected}"]


@dataclass(slots=True)
class Stateful:
    """The app ``stored``: tables on disk, windows, a regrouped topic, timers."""

    driver: StateDriver
    fed: int = 0

    def feed(self) -> None:
        self.driver.spend(spent_events(EVENTS, chance_of(self.fed), first=self.fed))
        self.fed += EVENTS

    def start(self, instance: str, fault: str) -> WorkerProcess:
        return self.driver.start(instance, fault, **SETTINGS, state_dir=str(self.driver.folder / "state"))

    def findings(self) -> list[str]:
        self.driver.move_time(self.fed)
        self.start("w0", "")
        wait_for_inputs_so_far(self.driver, all_but=self.driver.partitions)
        return self.driver.settle()


@contextmanager
def _plain(brokers: str) -> Generator[Tested]:
    with plain_driver("monitored", brokers) as driver:
        yield Plain(driver)


@contextmanager
def _stateful(brokers: str) -> Generator[Tested]:
    with own_driver("stored", brokers, 2) as driver:
        yield Stateful(driver)


APPS: Final[Mapping[str, Callable[[str], AbstractContextManager[Tested]]]] = {"monitored": _plain, "stored": _stateful}


def tested_app(name: str, brokers: str) -> AbstractContextManager[Tested]:
    """Give a new app of that name; its workers end with the block."""
    return APPS[name](brokers)
