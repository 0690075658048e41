"""One start of Kafka: format its folder, spawn it, and wait until it serves or say why it does not."""

from __future__ import annotations

import base64
import os
import subprocess
import time
import uuid
from collections.abc import Mapping

from streamserve.broker.config import HOST, Layout, java_arguments, write_settings
from streamserve.broker.distribution import Distribution
from streamserve.broker.java import Java
from streamserve.broker.probe import cluster_id, free_port
from streamserve.broker.process import exit_code, holder_of, kill
from streamserve.errors import LocalBrokerError

START_TIMEOUT_S = 90.0
_POLL_S = 0.05
_LOG_LINES = 15


class EndedAtStart(LocalBrokerError):
    """Kafka ended before it served."""

    def __init__(self, layout: Layout, code: int) -> None:
        self.port_was_taken = "java.net.BindException" in layout.log.read_text(errors="replace")
        super().__init__(f"Kafka ended at its start (exit code {code}); {_last_words(layout)}")


def port_taken(port: int) -> LocalBrokerError:
    """Say who listens on a port that the broker was to have."""
    holder = holder_of(port)
    if cluster_id(HOST, port) is not None:
        remedy = f"a Kafka broker answers there: use it with --brokers {HOST}:{port}, or choose another --port"
    else:
        remedy = "choose another with --port (0 takes a free one), or stop what listens there"
    return LocalBrokerError(f"port {port} is taken{f' by {holder}' if holder else ''}: {remedy}")


def launch(layout: Layout, java: Java, kafka: Distribution, port: int, settings: Mapping[str, str]) -> int:
    """Write the settings, format a new folder, spawn the broker apart from this process, and return its id.

    Raises:
        LocalBrokerError: The folder cannot be formatted.
    """
    write_settings(layout, kafka.class_path, port=port, controller_port=free_port(HOST), settings=settings)
    if layout.log.exists():
        layout.log.replace(layout.log.with_suffix(".log.1"))
    if not (layout.topics / "meta.properties").exists():
        _format(layout, java)
    return _spawn(layout, java)


def wait_until_ready(layout: Layout, pid: int, port: int) -> None:
    """Return when the broker serves.

    Raises:
        EndedAtStart: It ended instead.
        LocalBrokerError: It did neither in 90 s, and was killed.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while cluster_id(HOST, port) is None:
        code = exit_code(pid)
        if code is not None:
            raise EndedAtStart(layout, code)
        if time.monotonic() > deadline:
            kill(pid, layout.marker)
            waited = f"Kafka did not serve within {START_TIMEOUT_S:.0f} s and was ended"
            raise LocalBrokerError(f"{waited}; {_last_words(layout)}")
        time.sleep(_POLL_S)


def _format(layout: Layout, java: Java) -> None:
    """Make the folder a new cluster's, with Kafka's own tool; what it prints goes to the log."""
    tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={_new_cluster_id()}", f"--config={layout.settings}")
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    command = [java.path, *java_arguments(layout, quick), *tool]
    with layout.log.open("wb") as log:
        try:
            subprocess.run(  # noqa: S603 - the Java that was found, arguments of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_TIMEOUT_S,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise LocalBrokerError(f"{layout.topics} cannot be formatted for Kafka; {_last_words(layout)}") from error


def _spawn(layout: Layout, java: Java) -> int:
    """Start the broker in a session of its own: it outlives this process, and Ctrl-C does not reach it."""
    command = [str(java.path), *java_arguments(layout), "kafka.Kafka", str(layout.settings)]
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        java.path,
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(layout.log), log_flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _new_cluster_id() -> str:
    """Return a random id as Kafka writes them: 16 bytes in URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


def _last_words(layout: Layout) -> str:
    """Quote the end of the log and say where the rest is."""
    lines = layout.log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    said = "the last it said:\n  " + "\n  ".join(lines) if lines else "it said nothing"
    return f"{said}\nThe whole log: {layout.log}"
