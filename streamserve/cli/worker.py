"""One worker in this process, with its metrics, health, logs and signals."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.running.worker import Worker
from streamserve.durations import Duration, to_milliseconds
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import Observers
from streamserve.ops.crashes import CrashJournal, crash_folder
from streamserve.ops.health import Health, Liveness, Watchdog
from streamserve.ops.logging import Log, LoggingObserver, configure_logging, log_of
from streamserve.ops.metrics import PrometheusObserver
from streamserve.ops.server import OpsServer
from streamserve.ops.supervisor import EXIT_FAILED, watch_parent
from streamserve.settings import Settings
from streamserve.testing.faults import from_environment

__all__ = ["instance_base", "run_worker"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 5.0
"""How often the watchdog looks at the engine, or four times in ``stall_timeout`` if that is more often."""


def run_worker(plan: Plan, settings: Settings, *, json_logs: bool = False) -> None:
    """Run a worker of ``plan`` until a signal stops it; errors as in ``Worker.run``.

    Without a name of its own it takes that of the first worker on this host.
    """
    watch_parent(drain_s=_seconds(settings.shutdown_timeout))
    configure_logging(json=json_logs or None)
    settings = settings.model_copy(update={"instance": _instance(plan, settings)})
    crashes = CrashJournal(
        crash_folder(plan.app, settings),
        Quarantine(),
        careful_records=settings.max_transaction_records + settings.max_poll_records,
    )
    with crashes:
        _run_watched(plan, settings, crashes)


def _run_watched(plan: Plan, settings: Settings, crashes: CrashJournal) -> None:
    """Run the worker with all that looks at it."""
    metrics, told = PrometheusObserver(plan.app), LoggingObserver()
    health = Health(deadline_s=_seconds(settings.stall_timeout), models=plan.models)
    metrics.stalls.ask_crashes(lambda: crashes.deaths)
    observer = Observers([metrics, health, told, crashes.observer])
    worker = Worker(plan, settings, observer=observer, hook=from_environment(), quarantine=crashes.quarantine)
    tables = worker.tables if settings.expose_tables else None
    server = OpsServer(metrics, health, host=settings.http_host, port=settings.http_port, tables=tables)
    with server, _stopping(worker.stop), _watched(health, metrics, told, settings):
        log = log_of(instance=settings.instance)
        log.log(logging.INFO, "started", app=plan.app, brokers=settings.bootstrap_servers, http=server.url)
        _tell_crash(log, crashes)
        worker.run()
        told.close()  # what is left to tell comes before the end
        log.log(logging.INFO, "stopped", app=plan.app)


@contextmanager
def _watched(health: Health, metrics: PrometheusObserver, told: LoggingObserver, settings: Settings) -> Generator[None]:
    """Have a watchdog look at the engine in the block, and end the process when it stands still for too long."""

    def give_up(liveness: Liveness) -> None:
        told.gave_up(liveness)
        logging.shutdown()
        os._exit(EXIT_FAILED)  # nothing can interrupt what hangs; what is not committed is done again

    watchdog = Watchdog(
        health,
        [told, metrics.stalls],
        interval_s=min(_LOOK_SECONDS, health.deadline_s / 4),
        hopeless_s=_seconds(settings.stall_restart),
        give_up=give_up,
    )
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()
        told.close()


def _tell_crash(log: Log, crashes: CrashJournal) -> None:
    """Tell how the process before this one ended, if it crashed, and what follows."""
    if crashes.unusable:
        log.log(logging.WARNING, "crashes leave no trace", why=crashes.unusable)
    if crashes.trace:
        log.log(logging.ERROR, "crashed before", deaths=crashes.deaths, stack=crashes.trace)
    for origin in crashes.quarantine.refused:
        log.log(logging.ERROR, "record set aside that ends the process", agent=origin.step, at=str(origin.at))


def _seconds(duration: Duration) -> float:
    return to_milliseconds(duration) / 1000


def instance_base(plan: Plan, settings: Settings) -> str:
    """Return what the instance names of the app's workers on this host begin with."""
    if "instance" in settings.model_fields_set:
        return settings.instance
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{plan.app}-{socket.gethostname()}")[:110]


def _instance(plan: Plan, settings: Settings) -> str:
    base = instance_base(plan, settings)
    return base if "instance" in settings.model_fields_set else f"{base}-0"


@contextmanager
def _stopping(stop: Callable[[], None]) -> Generator[None]:
    """Call ``stop`` on the first SIGTERM or SIGINT; the next one ends the process, as it does by default."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
