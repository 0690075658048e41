"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("streamserve", deadline=None, print_blob=True, derandomize="CI" in os.environ)
"""No deadline, for the machine may be busy; in CI the same examples each time, so that a failure is the change's."""
settings.load_profile("streamserve")
