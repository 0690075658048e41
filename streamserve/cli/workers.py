"""Several workers of an app on this host: child processes under one supervisor."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping

from streamserve.cli.console import note
from streamserve.cli.worker import instance_base
from streamserve.dataflow.planning.plan import Plan
from streamserve.durations import to_milliseconds
from streamserve.ops.supervisor import ChildEvent, RestartPolicy, Supervisor
from streamserve.settings import Settings

__all__ = ["child_commands", "child_environment", "run_workers"]


def run_workers(name: str, plan: Plan, settings: Settings, workers: int, *, json_logs: bool = False) -> int:
    """Run ``workers`` children until all have ended or a signal comes; return the exit code.

    Raises:
        ConfigurationError: a child cannot be started.
    """
    commands = child_commands(name, plan, settings, workers, json_logs=json_logs)
    names = [f"{instance_base(plan, settings)}-{index}" for index in range(workers)]
    if settings.http_port:
        for index, instance in enumerate(names):
            note(f"{instance}: http://{settings.http_host}:{settings.http_port + index}")
    drain_s = to_milliseconds(settings.shutdown_timeout) / 1000
    supervisor = Supervisor(
        commands,
        policy=RestartPolicy(drain_s=drain_s),
        env=child_environment(settings, os.environ),
        on_event=lambda event: note(_told(names[event.index], event)),
    )
    return supervisor.run()


def child_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with the parent's Kafka settings: a command line would show their secrets to others."""
    if not settings.kafka:
        return dict(environment)
    kafka = {key: value.get_secret_value() for key, value in settings.kafka.items()}
    return {**environment, "STREAMSERVE_KAFKA": json.dumps(kafka)}


def child_commands(
    name: str, plan: Plan, settings: Settings, workers: int, *, json_logs: bool = False
) -> list[list[str]]:
    """Return the command of each child: the parent's settings, and an instance name and a port of its own."""
    shared = ["--brokers", settings.bootstrap_servers, "--commit-interval", _milliseconds(settings)]
    shared += ["--json-logs"] if json_logs else []
    base = instance_base(plan, settings)
    return [
        [
            *(sys.executable, "-m", "streamserve", "run", name, *shared),
            *("--instance", f"{base}-{index}"),
            *("--http-port", str(settings.http_port + index if settings.http_port else 0)),
        ]
        for index in range(workers)
    ]


def _milliseconds(settings: Settings) -> str:
    return f"{to_milliseconds(settings.commit_interval)}ms"


def _told(instance: str, event: ChildEvent) -> str:
    code = "" if event.code is None else f", {_ended_by(event.code)}"
    delay = f", again in {event.delay_s:g} s" if event.delay_s else ""
    return f"{instance}: {event.what} (process {event.pid}{code}{delay})"


def _ended_by(code: int) -> str:
    """Return what an exit status says.

    >>> _ended_by(1), _ended_by(-11)
    ('exit status 1', 'SIGSEGV')
    """
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"exit status {code}"
