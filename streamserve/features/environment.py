"""Importing Feast without what it does to the environment: light, and without Feast itself."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

__all__ = ["environment_kept"]

_PROMETHEUS = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")


@contextmanager
def environment_kept() -> Generator[None]:
    """Undo, after the block, what importing Feast in it does to the environment.

    It points the Prometheus clients of this process, and of all that it starts, to files in a folder of its own
    (``feast.metrics``, for servers that fork). Each change of a metric would be written there, series that are removed
    would stay with a warning, and a child that outlives this process finds the folder gone. A client that is loaded
    before Feast keeps to memory; those of children do without the variables.
    """
    import_module("prometheus_client")
    unset = [name for name in _PROMETHEUS if name not in os.environ]
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
