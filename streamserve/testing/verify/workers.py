"""Real ``streamserve run`` processes of one consumer group, which are killed and come back under their names."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamserve.errors import OutageError
from streamserve.testing.faults import FAULT_VARIABLE

__all__ = ["Launch", "Workers"]

_DRAIN_S: Final = 60.0
_LAST_LINES: Final = 12
_READY: Final = b'"event": "ready"'


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is started: its command and environment.

    ``lifeline`` is the environment variable that names the descriptor by which a worker sees that this process ended.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    lifeline: str


@dataclass(slots=True)
class _Place:
    """A worker's name in the group and its log; one process after the other takes it."""

    instance: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    begins: int = 0
    """Where in the log this process began."""


class Workers:
    """Worker processes by number; they end with the ``with`` block, and by themselves should this process be killed."""

    def __init__(self, launch: Launch, folder: Path) -> None:
        self._launch = launch
        self._folder = folder
        self._life_read, self._life_write = os.pipe()
        self._places: dict[int, _Place] = {}

    def start(self, number: int, faults: str = "") -> None:
        """Start worker ``number`` with ``faults`` for its switch."""
        place = self._places.setdefault(number, _Place(f"verify-{number}", self._folder / f"worker-{number}.log"))
        environment = {
            **self._launch.environment,
            "STREAMSERVE_INSTANCE": place.instance,
            FAULT_VARIABLE: faults,
            self._launch.lifeline: str(self._life_read),
        }

        with place.log.open("ab") as log:
            place.begins = log.tell()
            place.process = subprocess.Popen(  # noqa: S603 - our own command, without a shell
                self._launch.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._life_read,),
                process_group=0,
            )

    def kill(self, number: int) -> None:
        """End a worker with SIGKILL, as a crash does."""
        process = self._places[number].process
        if process is not None:
            process.kill()
            process.wait()

    def ready(self) -> list[int]:
        """Return the workers that have had their partitions since they were started."""
        return [number for number, place in self._places.items() if _READY in _since(place.log, place.begins)]

    def killed(self) -> list[int]:
        """Return the workers that SIGKILL has ended and that were not started since.

        Raises:
            OutageError: one ended in another way; with the end of its log.
        """
        dead: list[int] = []
        for number, place in self._places.items():
            code = None if place.process is None else place.process.poll()
            if code == -signal.SIGKILL:
                dead.append(number)
            elif code is not None:
                raise OutageError(f"{place.instance} ended with exit code {code}; its log ends:\n{_end(place.log)}")
        return dead

    def stop(self) -> None:
        """Let all drain and commit; kill those that do not end."""
        running = [place.process for place in self._places.values() if place.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + _DRAIN_S
        for process in running:
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._places.clear()

    def ends(self) -> str:
        """Return the last lines of every log."""
        return "\n".join(f"{place.instance}:\n{_end(place.log)}" for place in self._places.values())

    def said(self, text: str) -> int:
        """Return how many lines of all logs hold ``text``."""
        logs = self._folder.glob("worker-*.log")
        return sum(text in line for log in logs for line in log.read_text(errors="replace").splitlines())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        os.close(self._life_read)
        os.close(self._life_write)


def _since(log: Path, begins: int) -> bytes:
    with log.open("rb") as lines:
        lines.seek(begins)
        return lines.read()


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
