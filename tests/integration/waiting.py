"""Patience: what tests wait for, how long, and what one says that waited in vain."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamserve.broker.probe import free_port, is_free

__all__ = ["HOST", "PATIENCE_S", "WaitTooLong", "free_ports", "pages", "ready", "wait_until"]

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 120.0
"""What takes a second on a free machine has been seen to take one minute where twenty others wanted its two cores."""


class WaitTooLong(AssertionError):
    """Something did not come about in time."""


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S, *, alive: Callable[[], bool] = lambda: True
) -> None:
    """Wait for ``condition``; raise ``WaitTooLong``, which says ``what`` was missing, after ``seconds``.

    ``alive`` tells whether it can still come about: where it can't, that is a failure, and not for want of patience.
    """
    give_up = time.monotonic() + seconds
    while not condition():
        assert alive(), f"the process has ended before there was {what}"
        if time.monotonic() > give_up:
            raise WaitTooLong(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_ports(count: int) -> int:
    """Return a port after which ``count - 1`` are free as well, all outside of the range of outgoing connections."""
    while True:
        port = free_port(HOST)
        if all(is_free(HOST, port + number) for number in range(count)):
            return port


def pages(log: Path) -> list[str]:
    """Return where workers that log JSON have said that their pages are: of a port of their own choice."""
    lines = log.read_text().splitlines() if log.exists() else []
    told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [line["http"] for line in told if line["event"] == "started"]


def ready(place: int | str) -> bool:
    """Tell whether the worker whose pages are at an address, or at a port of this machine, is ready."""
    url = place if isinstance(place, str) else f"http://{HOST}:{place}"
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - a worker's, on loopback
            return answer.status == 200
    except OSError:
        return False
