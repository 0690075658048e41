"""What holds for all tests."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

settings.register_profile("streamserve", deadline=None, print_blob=True, derandomize="CI" in os.environ)
"""No deadline, for the machine may be busy; in CI the same examples each time, so that a failure is the change's."""
settings.load_profile("streamserve")

gc.disable()  # until all is imported: there is nothing to collect yet


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what was imported: it would walk through all of it again and again."""
    gc.freeze()
    gc.enable()
