"""Patience: what tests wait for, how long, and what one says that waited in vain."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Final

from streamserve.broker.probe import free_port, is_free

__all__ = ["HOST", "WaitTooLong", "free_ports", "ready", "wait_until"]

HOST: Final = "127.0.0.1"


class WaitTooLong(AssertionError):
    """Something did not come about in time."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for ``condition``; raise ``WaitTooLong``, which says ``what`` was missing, after ``seconds``."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise WaitTooLong(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_ports(count: int) -> int:
    """Return a port after which ``count - 1`` are free as well, all outside of the range of outgoing connections."""
    while True:
        port = free_port(HOST)
        if all(is_free(HOST, port + number) for number in range(count)):
            return port


def ready(port: int) -> bool:
    """Tell whether the worker whose pages are at ``port`` is ready."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
