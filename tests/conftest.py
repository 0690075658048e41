"""What holds for all tests."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

settings.register_profile("streamserve", deadline=None, print_blob=True, derandomize="CI" in os.environ)
"""No deadline, for the machine may be busy; in CI the same examples each time, so that a failure is the change's."""
settings.load_profile("streamserve")

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Tests have their processes: where two of them train, OpenMP's threads spin for each other (0.8 s become 11 s)."""

gc.disable()  # until all is imported: there is nothing to collect yet


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what was imported: it would walk through all of it again and again."""
    gc.freeze()
    gc.enable()
