"""Real ``streamserve run`` processes of an app, which may be killed and come back under the same name."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from streamserve.broker.probe import free_port
from streamserve.errors import OutageError
from streamserve.ops.supervisor import PARENT_FD
from streamserve.testing.children import Lifeline, last_lines, wait_or_kill

__all__ = ["CHECKOUT", "Workers"]

CHECKOUT = Path(__file__).resolve().parents[3]
"""The folder that ``topologies`` stands in: where workers run."""

_COMMAND = (sys.executable, "-m", "streamserve", "run")
_HOST = "127.0.0.1"
_READY_WITHIN_S = 120.0
_DRAIN_WITHIN_S = 45.0
_POLL_S = 0.1
_LAST_LINES = 8


@dataclass(slots=True)
class _Place:
    """A worker's name in the group, its address and its log; one process after the other takes it."""

    instance: str
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def end(self) -> str:
        """The last lines of the log."""
        return last_lines(self.log, _LAST_LINES)


class Workers:
    """``count`` processes of one consumer group; each has a name, a port and a log of its own, and keeps them.

    ``app`` is what ``streamserve run`` takes, ``MODULE:APP``; ``settings`` are its settings by name. They end with the
    ``with`` block, and by themselves should this process end otherwise. Each runs in UTC, since Feast's SQLite store
    takes times through the machine's clock.
    """

    def __init__(
        self, app: str, brokers: str, *, count: int, logs: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.kills = 0
        self._app = app
        self._logs = logs
        given = {"bootstrap_servers": brokers, **(settings or {})}
        own = {f"STREAMSERVE_{name.upper()}": value for name, value in given.items()}
        self._env = {**os.environ, "TZ": "UTC", **own}
        self._lifeline = Lifeline(PARENT_FD)
        self._places: list[_Place] = []
        self._leaving: list[_Place] = []
        self._make_places(count)

    @property
    def urls(self) -> list[str]:
        """Where each serves its metrics and health."""
        return [place.url for place in self._places]

    @property
    def names(self) -> list[str]:
        """What each is called in its group."""
        return [place.instance for place in self._places]

    def start(self) -> None:
        """Start those that do not run; ``wait_until_ready`` tells when they work."""
        for number in range(len(self._places)):
            self.revive(number)

    def revive(self, number: int) -> None:
        """Start worker ``number`` under its name, unless it runs."""
        place = self._places[number]
        if place.process is None:
            place.process = self._spawn(place)

    def scale(self, count: int) -> None:
        """Have ``count`` workers: start what is missing, and ask the last ones to drain and go, without waiting."""
        for place in self._places[count:]:
            _ask_to_end(place)
        self._leaving += self._places[count:]
        del self._places[count:]
        self._make_places(count)
        self.start()

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
                ends = "\n".join(place.end for place in self._places)
                raise OutageError(f"a worker was not ready within {_READY_WITHIN_S:g} s; its log ends:\n{ends}")
            time.sleep(_POLL_S)

    def kill(self, number: int) -> None:
        """SIGKILL a worker, as a crash would end it; ``revive`` starts it again."""
        place = self._places[number]
        if place.process is not None:
            place.process.kill()
            place.process.wait()
            place.process = None
            self.kills += 1

    def check(self) -> None:
        """Raise if a worker has ended by itself.

        Raises:
            OutageError: with the end of its log.
        """
        for place in self._places:
            if place.process is not None and (code := place.process.poll()) is not None:
                raise OutageError(f"{place.instance} ended with exit code {code}; its log ends:\n{place.end}")

    def stop(self) -> None:
        """Let them drain and commit; kill those that do not end."""
        for place in self._places:
            _ask_to_end(place)
        give_up = time.monotonic() + _DRAIN_WITHIN_S
        for place in [*self._leaving, *self._places]:
            _wait_for_end(place, give_up)
        self._leaving.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._lifeline.close()

    def _make_places(self, count: int) -> None:
        """Make places up to ``count``; a name that is still in use by one that leaves is waited for."""
        module = self._app.partition(":")[0].rpartition(".")[2]
        for number in range(len(self._places), count):
            log = self._logs / f"{module}-{number}.log"
            for place in [place for place in self._leaving if place.log == log]:
                _wait_for_end(place, time.monotonic() + _DRAIN_WITHIN_S)
                self._leaving.remove(place)
            self._places.append(_Place(f"demo-{number}", f"http://{_HOST}:{free_port(_HOST)}", log))

    def _spawn(self, place: _Place) -> subprocess.Popen[bytes]:
        env = {
            **self._env,
            "STREAMSERVE_INSTANCE": place.instance,
            "STREAMSERVE_HTTP_PORT": place.url.rpartition(":")[2],
        }
        with place.log.open("ab") as log:
            return self._lifeline.start([*_COMMAND, self._app], env, log, folder=CHECKOUT)


def _ask_to_end(place: _Place) -> None:
    if place.process is not None:
        place.process.send_signal(signal.SIGTERM)


def _wait_for_end(place: _Place, give_up: float) -> None:
    """Wait for one that was asked to end; kill it where it does not."""
    if place.process is not None:
        wait_or_kill(place.process, give_up - time.monotonic())
        place.process = None


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
