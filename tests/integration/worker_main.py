"""What a worker process of the fault tests runs.

Its settings come from ``STREAMSERVE_*``, its faults from ``STREAMSERVE_FAULT``: those of the switch, or an explorer's.
It stops on SIGTERM, and writes what happens to it on standard error, a line each.
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
from streamserve.observer import Observer, Observers
from streamserve.ops.logging import LoggingObserver, configure_logging
from streamserve.ops.metrics import PrometheusObserver
from streamserve.settings import load_settings
from streamserve.testing.faults import FAULT_VARIABLE, from_environment
from tests.integration.apps.claimed import CLAIM
from tests.integration.apps.topologies import TOPOLOGIES, readers
from tests.integration.evidence.explorer import exploring

LISTENS = "stops on SIGTERM"
"""What a worker writes once it does: before, the signal would just kill it."""


class Lines(Observer):
    """Writes the few events that tests wait for."""

    def ready(self, ready: bool, why: str) -> None:
        print("ready" if ready else f"waiting: {why}", file=sys.stderr, flush=True)

    def joining(self, group: str) -> None:
        del group
        CLAIM.renew()

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        CLAIM.renew()
        print(f"assigned: {sorted(number for numbers in partitions.values() for number in numbers)}", file=sys.stderr)

    def aborted(self, reason: str, message: str) -> None:
        print(f"{reason}: {message}", file=sys.stderr, flush=True)


def told_of(log: Path) -> Path:
    """Return the file of what the worker of ``log`` logs."""
    return log.with_suffix(".told")


def metrics_of(log: Path) -> Path:
    """Return the file of the metrics with which the worker of ``log`` ended, if it ended in order."""
    return log.with_suffix(".metrics")


def run_worker(topology: str, app: str, registry: Path, environment: Mapping[str, str], log: Path) -> None:
    """Be a worker process, with standard output and error in ``log``; what ends it is the exit status."""
    os.environ.update(environment)
    with log.open("wb") as lines:
        for stream in (1, 2):
            os.dup2(lines.fileno(), stream)
    faulthandler.register(signal.SIGUSR1)
    built = TOPOLOGIES[topology](app, registry)

    def stop(*_: object) -> None:
        worker.stop()

    hook = exploring(os.environ.get(FAULT_VARIABLE, ""), stop) or from_environment()
    configure_logging(stream=told_of(log).open("w", buffering=1), json=True)
    metrics = PrometheusObserver(app)
    observer = Observers([Lines(), metrics, LoggingObserver()])
    worker = Worker(built.plan(), load_settings(built.settings), observer=observer, readers=readers(), hook=hook)
    signal.signal(signal.SIGTERM, stop)
    print(LISTENS, file=sys.stderr, flush=True)
    try:
        worker.run()
    except (ConfigurationError, OutageError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        metrics_of(log).write_bytes(metrics.render())
