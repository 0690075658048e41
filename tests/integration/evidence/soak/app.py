"""The app of the soak: that of ``streamserve verify``, but with state that stops growing."""

from __future__ import annotations

import os

from streamserve.testing.verify.app import APP_VARIABLE, build_app

__all__ = ["MODULE", "WITHIN", "app"]

MODULE = f"{__name__}:app"
"""What ``streamserve run`` is given."""

WITHIN = "30m"
"""Of event time, in which predictions wait for labels: 180,000 inputs."""

app = build_app(os.environ.get(APP_VARIABLE, "soak"), within=WITHIN)
