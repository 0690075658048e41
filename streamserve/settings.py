"""Settings of a worker: frozen, secrets masked, ``command line > STREAMSERVE_* > code``."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypedDict

from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import ConfigurationError


class SettingsOverrides(TypedDict, total=False):
    """What ``App(...)`` takes as keyword arguments."""

    feature_repo: str | Path
    model_registry: str | Path
    bootstrap_servers: str
    commit_interval: Duration
    kafka: Mapping[str, str]
    state_dir: str | Path
    expose_tables: bool


class Settings(BaseSettings):
    """All settings of one worker process.

    Each is also an environment variable, in upper case behind ``STREAMSERVE_``; ``kafka`` is a JSON object there.
    """

    model_config = SettingsConfigDict(env_prefix="STREAMSERVE_", frozen=True, extra="forbid")

    bootstrap_servers: str = "127.0.0.1:9092"
    """Kafka's address, ``host:port`` with commas between several."""
    kafka: Mapping[str, SecretStr] = {}
    """librdkafka settings for *every* client (consumer, producers, admin, restore); shown masked."""
    feature_repo: Path | None = None
    """The Feast repository; relative paths are taken from the working directory."""
    model_registry: Path | None = None
    """The folder of model packages."""
    state_dir: Path | None = None
    """The folder of tables on disk, each in ``<app>/<instance>/<table>-<partition>`` (default: the user's folder for
    state, ``~/.local/state/streamserve/tables`` on Linux). Each worker of a machine needs an instance name of its own
    there. Deleting it costs a restore. What a process leaves that died natively is in ``<app>/<instance>/crashes``."""
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-0", pattern=r"^[A-Za-z0-9._-]{1,120}$")
    """This worker's name in the consumer group (static membership): stable across restarts, unique in the app."""
    commit_interval: Duration = "100ms"
    """How long a transaction may stay open under load; an idle worker commits at once."""
    max_poll_records: int = Field(default=4096, ge=1)
    """Records taken from the broker at once: the largest batch of the steps."""
    max_transaction_records: int = Field(default=200_000, ge=1)
    """Input records after which a transaction is closed before its interval."""
    session_timeout: Duration = "10s"
    """After this silence the group gives a worker's partitions to others."""
    transaction_timeout: Duration = "20s"
    """After this the broker aborts a transaction left open; readers wait for it at most that long."""
    merge_wait: Duration = "0s"
    """How long a topic that is at its end holds back the others that it is merged with: longer keeps the order of event
    time where topics are written at about the same time, and adds as much latency while one of them is silent."""
    idle_timeout: Duration = "5s"
    """After this silence a topic at its end holds back neither the watermark nor what waits to be put in order."""
    shutdown_timeout: Duration = "30s"
    """How long outages may last before a worker that cannot go on stops."""
    stall_timeout: Duration = "60s"
    """How long the engine may stand still before ``/healthz`` fails: three times what a transaction may take, and more
    than a first import of Feast and a large model. A batch of a slow model must take less."""
    stall_restart: Duration = "5m"
    """How long it may stand still before its process ends, with exit code 1, for others to start it again; ``0s``:
    never. By default as long as Kafka's clients wait (``max.poll.interval.ms``) until the group gives its partitions
    away."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """Port of ``/metrics``, ``/healthz`` and ``/readyz``; 0 takes a free one."""
    expose_tables: bool = False
    """Whether ``/tables`` shows what the app's tables hold to whoever reaches the port."""

    @field_validator(
        *(
            "commit_interval",
            "session_timeout",
            "transaction_timeout",
            "merge_wait",
            "idle_timeout",
            "shutdown_timeout",
        ),
        *("stall_timeout", "stall_restart"),
    )
    @classmethod
    def _is_a_duration(cls, value: Duration) -> Duration:
        to_milliseconds(value)
        return value


def load_settings(code: Mapping[str, Any] | None = None, command_line: Mapping[str, Any] | None = None) -> Settings:
    """Merge the settings of the code, the environment and the command line; later ones win.

    >>> load_settings({"commit_interval": "50ms"}, {"commit_interval": "5ms"}).commit_interval
    '5ms'

    Raises:
        ConfigurationError: a name is unknown or a value is not allowed; values are not repeated.
    """
    given = {name: value for name, value in (command_line or {}).items() if value is not None}
    try:
        environment = Settings()
        from_environment = {name: getattr(environment, name) for name in environment.model_fields_set}
        return Settings(**{**(code or {}), **from_environment, **given})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)
        )
        raise ConfigurationError(
            f"settings: {problems}. Check App(...), the STREAMSERVE_* environment variables and the command line."
        ) from error
