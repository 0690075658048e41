"""One worker in this process, with its metrics, health, logs and signals."""

from __future__ import annotations

import logging
import re
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.running.worker import Worker
from streamserve.durations import to_milliseconds
from streamserve.observer import Observers
from streamserve.ops.health import Health, Watchdog
from streamserve.ops.logging import LoggingObserver, configure_logging, log_of
from streamserve.ops.metrics import PrometheusObserver
from streamserve.ops.server import OpsServer
from streamserve.ops.supervisor import watch_parent
from streamserve.settings import Settings
from streamserve.testing.faults import from_environment

__all__ = ["instance_base", "run_worker"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_worker(plan: Plan, settings: Settings, *, json_logs: bool = False) -> None:
    """Run a worker of ``plan`` until a signal stops it; errors as in ``Worker.run``.

    Without a name of its own it takes that of the first worker on this host.
    """
    watch_parent(drain_s=to_milliseconds(settings.shutdown_timeout) / 1000)
    configure_logging(json=json_logs or None)
    settings = settings.model_copy(update={"instance": _instance(plan, settings)})
    metrics, health, told = PrometheusObserver(plan.app), Health(models=plan.models), LoggingObserver()
    worker = Worker(plan, settings, observer=Observers([metrics, health, told]), hook=from_environment())
    watchdog = Watchdog(health, told.stalled)
    tables = worker.tables if settings.expose_tables else None
    server = OpsServer(metrics, health, host=settings.http_host, port=settings.http_port, tables=tables)
    with server, _stopping(worker.stop):
        log = log_of(instance=settings.instance)
        log.log(logging.INFO, "started", app=plan.app, brokers=settings.bootstrap_servers, http=server.url)
        watchdog.start()
        try:
            worker.run()
        finally:
            watchdog.stop()
            told.close()
        log.log(logging.INFO, "stopped", app=plan.app)


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
