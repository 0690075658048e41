"""The user's folders, by the platform's convention."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_home", "state_home"]


def cache_home() -> Path:
    """Return the folder of what can be fetched or made again; streamserve has a folder of its own in it."""
    return _home("XDG_CACHE_HOME", linux=".cache", mac="Library/Caches") / "streamserve"


def state_home() -> Path:
    """Return the folder of what is worth keeping between runs; streamserve has a folder of its own in it."""
    return _home("XDG_STATE_HOME", linux=".local/state", mac="Library/Application Support") / "streamserve"


def _home(variable: str, *, linux: str, mac: str) -> Path:
    """Follow the XDG base directory specification; a relative value is ignored, as it demands."""
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given
    return Path.home() / (mac if sys.platform == "darwin" else linux)
