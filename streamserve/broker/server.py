"""Start, stop and look at a real Kafka broker on this machine.

A broker belongs to a **data folder**: its topics, settings, log, and the record of its process. ``start`` leaves it
running on its own until ``stop``; ``LocalBroker`` ends it with the process that asked for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

from streamserve.broker.config import HOST, NO_SETTINGS, Layout
from streamserve.broker.distribution import Distribution, find_distribution
from streamserve.broker.java import Java, find_java
from streamserve.broker.launch import EndedAtStart, launch, port_taken, wait_until_ready
from streamserve.broker.lock import exclusive
from streamserve.broker.paths import default_data_dir
from streamserve.broker.probe import cluster_id, free_port, is_free
from streamserve.broker.process import Guard, is_running, kill, terminate
from streamserve.errors import LocalBrokerError

DEFAULT_PORT = 9092
STOP_TIMEOUT_S = 30.0
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBroker:
    """A broker process: where it listens, what it runs on and since when (UTC, ISO 8601)."""

    address: str
    pid: int
    kafka: str
    java: str
    started_at: str
    data_dir: str
    log: str

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.address.rpartition(":")[2])

    def answers(self) -> bool:
        """Ask it, for at most a second."""
        return cluster_id(HOST, self.port) is not None


OnSpawn = Callable[[RunningBroker], None]


def status(data_dir: Path | None = None) -> RunningBroker | None:
    """Return the broker of a data folder (default: the user's), or None where none runs."""
    layout = _layout(data_dir)
    try:
        broker = RunningBroker(**json.loads(layout.record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return broker if is_running(broker.pid, layout.marker) else None


def start(
    data_dir: Path | None = None,
    *,
    port: int | None = None,
    on_spawn: OnSpawn = lambda _broker: None,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> RunningBroker:
    """Start a broker that runs until ``stop``, and return when it answers.

    Where the folder's broker runs already, it is returned as it is.

    Args:
        data_dir: Its folder; default: one in the user's state folder.
        port: Where it listens on 127.0.0.1; 0 takes a free one; default: 9092, or wherever it runs already.
        on_spawn: Called as soon as there is a new process, before it answers.
        settings: Kafka's settings where they are to differ from ours (``broker.config.SETTINGS``).

    Raises:
        LocalBrokerError: There is no Java, the jars cannot be had, the port is taken, or Kafka ended at its start.
    """
    layout = _layout(data_dir)
    with exclusive(layout.lock):
        running = status(layout.data_dir)
        if running is None:
            return _start(layout, DEFAULT_PORT if port is None else port, on_spawn, settings)
        if port and port != running.port:
            raise LocalBrokerError(
                f"the broker of {layout.data_dir} runs already, at {running.address}: "
                "use that address, stop it first, or give another data folder (--data-dir)"
            )
        wait_until_ready(layout, running.pid, running.port)
        return running


def stop(data_dir: Path | None = None) -> RunningBroker | None:
    """Stop the broker of a data folder and return what was stopped, or None where none ran.

    It is asked to end, and killed when it has not ended within 30 s. Its records are kept.
    """
    layout = _layout(data_dir)
    if not layout.record.exists():
        return None
    with exclusive(layout.lock):
        running = status(layout.data_dir)
        if running is not None:
            terminate(running.pid, layout.marker, timeout_s=STOP_TIMEOUT_S)
        layout.record.unlink(missing_ok=True)
        return running


class LocalBroker:
    """A broker that lives as long as its ``with`` block, and no longer than this process, however that ends.

    ``stop`` and ``start`` may be called in between: the address and the records stay.

    Args:
        data_dir: Its folder, which is kept; default: a temporary one, removed after a good end.
        port: Where it listens on 127.0.0.1; 0 takes a free one.
        settings: Kafka's settings where they are to differ from ours.
    """

    def __init__(
        self, data_dir: Path | None = None, *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS
    ) -> None:
        self._is_temporary = data_dir is None
        self._data_dir = data_dir or Path(mkdtemp(prefix="streamserve-broker-"))
        self._port = port
        self._settings = settings
        self._running: RunningBroker | None = None
        self._guard: Guard | None = None

    @property
    def address(self) -> str:
        """``host:port``, for ``bootstrap.servers``."""
        return self.running.address

    @property
    def running(self) -> RunningBroker:
        """What is known of its process."""
        if self._running is None:
            raise LocalBrokerError("the local broker was not started: use it in a with block, or call start()")
        return self._running

    def start(self) -> Self:
        """Start it, and return when it answers; does nothing where this object's broker runs.

        Raises:
            LocalBrokerError: As ``start`` does, and where another process runs this folder's broker.
        """
        other = status(self._data_dir) if self._guard is None else None
        if other is not None:
            raise LocalBrokerError(
                f"the broker of {other.data_dir} runs already, at {other.address} (process {other.pid}): "
                "use it by that address, or give another data folder"
            )
        try:
            self._running = start(self._data_dir, port=self._port, on_spawn=self._watch, settings=self._settings)
        except BaseException:  # Ctrl-C too: nothing must stay behind
            self.stop()
            raise
        self._port = self._running.port
        return self

    def stop(self) -> None:
        """Stop it in good order; its records stay for the next start."""
        stop(self._data_dir)
        self._release()

    def kill(self) -> None:
        """End it at once, as a crash does; its records stay for the next start."""
        kill(self.running.pid, _layout(self._data_dir).marker)
        self._release()

    def _watch(self, broker: RunningBroker) -> None:
        self._release()
        self._guard = Guard(broker.pid, _layout(self._data_dir).marker)

    def _release(self) -> None:
        if self._guard is not None:
            self._guard.release()
            self._guard = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._is_temporary:
            rmtree(self._data_dir)


def _layout(data_dir: Path | None) -> Layout:
    return Layout((data_dir or default_data_dir()).absolute())


def _start(layout: Layout, port: int, on_spawn: OnSpawn, settings: Mapping[str, str]) -> RunningBroker:
    """Start once; and again while a port that was chosen here is taken by another program in the meantime."""
    if port and not is_free(HOST, port):
        raise port_taken(port)
    java, kafka = find_java(), find_distribution()
    for _ in range(_ATTEMPTS - 1):
        try:
            return _start_once(layout, java, kafka, port or free_port(HOST), on_spawn, settings)
        except EndedAtStart as ended:
            if not ended.port_was_taken:
                raise
    return _start_once(layout, java, kafka, port or free_port(HOST), on_spawn, settings)


def _start_once(
    layout: Layout, java: Java, kafka: Distribution, port: int, on_spawn: OnSpawn, settings: Mapping[str, str]
) -> RunningBroker:
    pid = launch(layout, java, kafka, port, settings)
    running = RunningBroker(
        address=f"{HOST}:{port}",
        pid=pid,
        kafka=f"{kafka.version} ({kafka.source})",
        java=f"{java.version} ({java.source})",
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        data_dir=str(layout.data_dir),
        log=str(layout.log),
    )
    layout.record.write_text(json.dumps(asdict(running), indent=2))
    on_spawn(running)
    wait_until_ready(layout, pid, port)
    return running
