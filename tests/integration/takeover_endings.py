"""How an old owner may end in the midst of a commit, and the verdict on who took over."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from tests.integration.driving import WorkerProcess
from tests.integration.state_driving import StateDriver

EVENTS = 400
"""Inputs of one try."""

Ending: TypeAlias = Literal["dies", "stands still", "gives way"]
ENDINGS: tuple[Ending, ...] = ("dies", "stands still", "gives way")


class Try(Protocol):
    """One way to take over."""

    def take_over(self, driver: StateDriver, first: int, seed: int) -> list[str]:
        """Return what is wrong afterwards, events ``first`` and on being the inputs."""
        ...


def verdict(driver: StateDriver, *workers: WorkerProcess) -> list[str]:
    """Return what is wrong once all inputs are committed; ``workers`` have ended by then."""
    wrong = driver.settle(10)
    for worker in workers:
        if worker.running:
            worker.stop()
    return wrong
