"""Real ``streamserve run`` processes of one consumer group, which are killed and come back under their names."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamserve.errors import OutageError
from streamserve.testing.children import Lifeline, last_lines, wait_or_kill
from streamserve.testing.faults import FAULT_VARIABLE, NOTES_VARIABLE

__all__ = ["Launch", "Workers"]

_DRAIN_S: Final = 60.0
_LAST_LINES: Final = 12
_READY: Final = b'"event": "ready"'
_ENDINGS: Final = (0, -signal.SIGKILL, -signal.SIGTERM)
"""How a worker may end that is told to: SIGTERM itself ends one that does not listen yet."""


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

    @property
    def end(self) -> str:
        """The last lines of the log."""
        return last_lines(self.log, _LAST_LINES)


class Workers:
    """Worker processes by number; they end with the ``with`` block, and by themselves should this process be killed."""

    def __init__(self, launch: Launch, folder: Path) -> None:
        self._launch = launch
        self._folder = folder
        self.notes = folder / "faults.txt"
        """Where the workers note which calls failed."""
        self._lifeline = Lifeline(launch.lifeline)
        self._places: dict[int, _Place] = {}

    def start(self, number: int, faults: str = "") -> None:
        """Start worker ``number`` with ``faults`` for its switch."""
        place = self._places.setdefault(number, _Place(f"verify-{number}", self._folder / f"worker-{number}.log"))
        environment = {
            **self._launch.environment,
            "STREAMSERVE_INSTANCE": place.instance,
            FAULT_VARIABLE: faults,
            NOTES_VARIABLE: str(self.notes),
        }
        with place.log.open("ab") as log:
            place.begins = log.tell()
            place.process = self._lifeline.start(self._launch.command, environment, log)

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the workers that there are."""
        return sorted(self._places)

    @property
    def processes(self) -> dict[int, int]:
        """Return the process id of each worker."""
        return {number: place.process.pid for number, place in self._places.items() if place.process is not None}

    def retire(self, number: int) -> bool:
        """Let a worker drain, commit and end for good; return whether it was killed on the way.

        Raises:
            OutageError: it ended in another way, or not within a minute.
        """
        place = self._places.pop(number)
        if place.process is None:
            return False
        place.process.send_signal(signal.SIGTERM)
        code = wait_or_kill(place.process, _DRAIN_S)
        if code not in _ENDINGS:
            raise OutageError(f"{place.instance} did not drain (exit code {code}); its log ends:\n{place.end}")
        return code == -signal.SIGKILL

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
                raise OutageError(f"{place.instance} ended with exit code {code}; its log ends:\n{place.end}")
        return dead

    def stop(self) -> None:
        """Let all drain and commit; kill those that do not end."""
        running = [place.process for place in self._places.values() if place.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + _DRAIN_S
        for process in running:
            wait_or_kill(process, give_up - time.monotonic())
        self._places.clear()

    def ends(self) -> str:
        """Return the last lines of every log."""
        return "\n".join(f"{place.instance}:\n{place.end}" for place in self._places.values())

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
        self._lifeline.close()


def _since(log: Path, begins: int) -> bytes:
    with log.open("rb") as lines:
        lines.seek(begins)
        return lines.read()
