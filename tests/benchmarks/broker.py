"""The broker that is measured on, and an end that leaves none behind."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


def end_as_on_interrupt(number: int, _frame: FrameType | None) -> None:
    """Handle a signal as Ctrl-C is, so that no process stays behind."""
    sys.exit(128 + number)


@contextmanager
def broker_for(brokers: str | None) -> Generator[tuple[str, str]]:
    """Give an address and what runs there: the one named, or a broker of this run."""
    if brokers is not None:
        yield brokers, f"as found at {brokers}"
        return
    from streamserve.broker.server import LocalBroker

    with LocalBroker() as broker:
        yield broker.address, broker.running.kafka
