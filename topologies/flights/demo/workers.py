"""The demo's workers: real ``streamserve run`` processes, which may be killed and come back under the same name."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamserve.broker.probe import free_port
from streamserve.errors import OutageError
from streamserve.ops.supervisor import PARENT_FD

__all__ = ["CHECKOUT", "Workers"]

CHECKOUT = Path(__file__).resolve().parents[3]
"""The folder that ``topologies`` stands in: where workers run."""

_COMMAND = (sys.executable, "-m", "streamserve", "run", "topologies.flights.app:app")
_HOST = "127.0.0.1"
_READY_WITHIN_S = 120.0
_DRAIN_WITHIN_S = 45.0
_POLL_S = 0.1
_LAST_LINES = 8


class Workers:
    """``count`` processes of one consumer group; each has a name, a port and a log of its own, and keeps them.

    They end with the ``with`` block, and by themselves should this process end otherwise. Each runs in UTC, since
    Feast's SQLite store takes times through the machine's clock.
    """

    def __init__(self, brokers: str, feature_repo: Path, *, count: int, logs: Path) -> None:
        self.kills = 0
        self.urls = [f"http://{_HOST}:{free_port(_HOST)}" for _ in range(count)]
        self._logs = [logs / f"worker-{number}.log" for number in range(count)]
        self._env = {
            **os.environ,
            "TZ": "UTC",
            "STREAMSERVE_BOOTSTRAP_SERVERS": brokers,
            "STREAMSERVE_FEATURE_REPO": str(feature_repo),
        }
        self._life_read, self._life_write = os.pipe()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start them all; ``wait_until_ready`` tells when they work."""
        self._processes = [self._spawn(number) for number in range(len(self.urls))]

    def wait_until_ready(self, while_waiting: Callable[[], object] = lambda: None) -> None:
        """Return when every worker has its partitions and its model has given its golden answer.

        Raises:
            OutageError: one ended, or is not ready within two minutes.
        """
        give_up = time.monotonic() + _READY_WITHIN_S
        while not all(map(_is_ready, self.urls)):
            self.check()
            while_waiting()
            if time.monotonic() > give_up:
                raise OutageError(f"a worker was not ready within {_READY_WITHIN_S:g} s; its log ends:\n{self._ends()}")
            time.sleep(_POLL_S)

    def kill(self, number: int) -> None:
        """SIGKILL a worker, as a crash would end it, and start it again under its name."""
        process = self._processes[number]
        process.kill()
        process.wait()
        self.kills += 1
        self._processes[number] = self._spawn(number)

    def check(self) -> None:
        """Raise if a worker has ended by itself.

        Raises:
            OutageError: with the end of its log.
        """
        for number, process in enumerate(self._processes):
            if (code := process.poll()) is not None:
                log = _tail(self._logs[number])
                raise OutageError(f"worker {number} ended with exit code {code}; its log ends:\n{log}")

    def stop(self) -> None:
        """Let them drain and commit; kill those that do not end."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + _DRAIN_WITHIN_S
        for process in self._processes:
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        os.close(self._life_read)
        os.close(self._life_write)

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        env = {
            **self._env,
            "STREAMSERVE_INSTANCE": f"demo-{number}",
            "STREAMSERVE_HTTP_PORT": self.urls[number].rpartition(":")[2],
            PARENT_FD: str(self._life_read),
        }
        with self._logs[number].open("ab") as log:
            return _run(env, log, self._life_read)

    def _ends(self) -> str:
        return "\n".join(map(_tail, self._logs))


def _run(env: dict[str, str], log: IO[bytes], life: int) -> subprocess.Popen[bytes]:
    """Start one worker, in a process group of its own: Ctrl-C is for the demo, which then lets it drain."""
    return subprocess.Popen(  # noqa: S603 - our own command, without a shell
        _COMMAND,
        cwd=CHECKOUT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(life,),
        process_group=0,
    )


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:]) if log.exists() else ""
