"""What a worker process of the fault tests runs.

Its settings come from ``STREAMSERVE_*``, its faults from ``STREAMSERVE_FAULT``. It stops on SIGTERM, and writes what
happens to it on standard error, a line each.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamserve.dataflow.running.worker import Worker
from streamserve.errors import ConfigurationError, OutageError
from streamserve.observer import Observer
from streamserve.settings import load_settings
from streamserve.testing.faults import from_environment
from tests.integration.apps.topologies import TOPOLOGIES, readers

LISTENS = "stops on SIGTERM"
"""What a worker writes once it does: before, the signal would just kill it."""


class Lines(Observer):
    """Writes the few events that tests wait for."""

    def ready(self, ready: bool, why: str) -> None:
        print("ready" if ready else f"waiting: {why}", file=sys.stderr, flush=True)

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        print(f"assigned: {sorted(number for numbers in partitions.values() for number in numbers)}", file=sys.stderr)

    def aborted(self, reason: str, message: str) -> None:
        print(f"{reason}: {message}", file=sys.stderr, flush=True)


def run_worker(topology: str, app: str, registry: Path, environment: Mapping[str, str], log: Path) -> None:
    """Be a worker process, with standard output and error in ``log``; what ends it is the exit status."""
    os.environ.update(environment)
    with log.open("wb") as lines:
        for stream in (1, 2):
            os.dup2(lines.fileno(), stream)
    faulthandler.register(signal.SIGUSR1)
    built = TOPOLOGIES[topology](app, registry)
    hook = from_environment()
    worker = Worker(built.plan(), load_settings(built.settings), observer=Lines(), readers=readers(), hook=hook)

    def stop(*_: object) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    print(LISTENS, file=sys.stderr, flush=True)
    try:
        worker.run()
    except (ConfigurationError, OutageError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
