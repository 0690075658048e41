"""How a measured program that serves tells the suite that it takes records, and learns that it is to end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def announce() -> None:
    """Say ``ready`` on standard output."""
    print("ready", flush=True)


def when_input_ends(act: Callable[[], object]) -> None:
    """Call ``act``, on a thread of its own, when standard input ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        act()

    threading.Thread(target=wait, daemon=True).start()
