"""An engine's process with all of its children, and what they use of the machine while they run."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

_EVERY_S = 0.05
_NEW_CHILDREN_S = 1.0
_PATIENCE_S = (3.0, 15.0)
"""How long a process may take to end when its input has ended, and when it was told to."""
_LAST_WORDS = 2000


@dataclass(slots=True)
class Usage:
    """What was used at which moment: seconds since the epoch, seconds of processor time so far, bytes resident."""

    at: list[float] = field(default_factory=list[float])
    cpu_s: list[float] = field(default_factory=list[float])
    resident: list[int] = field(default_factory=list[int])

    def add(self, at: float, cpu_s: float, resident: int) -> None:
        """Take note of one moment."""
        self.at.append(at)
        self.cpu_s.append(cpu_s)
        self.resident.append(resident)

    def cpu_between(self, began: float, ended: float) -> float:
        """Return the processor time between two moments, in seconds.

        >>> usage = Usage([0.0, 1.0, 2.0], [0.5, 1.0, 2.0], [1, 3, 2])
        >>> usage.cpu_between(0.5, 2.0)
        1.25
        """
        before, after = np.interp([began, ended], self.at, self.cpu_s).tolist()
        return after - before

    def most_resident(self) -> int:
        """Return the most memory that was resident at one time, in bytes."""
        return max(self.resident)


class Running:
    """An engine at work; ``usage`` grows every 50 ms."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.usage = Usage()
        self._process = process
        self._log = log
        self._family = [psutil.Process(process.pid)]
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process ended, which none should do by itself."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return what it said last."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]

    def end(self) -> None:
        """End its input; where that is not enough tell it to end, at last kill it. Its children go with it."""
        self._ended.set()
        self._watch.join()
        if self._process.stdin is not None:
            self._process.stdin.close()
        for patience, act in zip(_PATIENCE_S, (self._process.terminate, self._process.kill), strict=True):
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                act()
        self._process.wait()
        for child in self._family[1:]:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def _sample(self) -> None:
        until = 0.0
        while not self._ended.wait(_EVERY_S):
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() >= until:
                    self._family, until = _family(self._family[0]), time.monotonic() + _NEW_CHILDREN_S
                self.usage.add(time.time(), sum(map(_cpu_s, self._family)), sum(map(_resident, self._family)))


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Generator[Running]:
    """Run a command until the block ends, its output in a file of ``folder``."""
    log = folder / "engine.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment)
    found = Running(process, log)
    try:
        yield found
    finally:
        found.end()


def _family(parent: psutil.Process) -> list[psutil.Process]:
    return [parent, *parent.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def _resident(process: psutil.Process) -> int:
    return process.memory_info().rss
