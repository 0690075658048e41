"""Processes known by their id and by a marker among their arguments, so that a reused id is never taken for ours.

Run as a program (``python process.py PID MARKER``) this is the guard: it waits until the process that started it is
gone, however it went, and then ends the one it guards. It imports nothing of streamserve, to start quickly.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import psutil

_RELEASED = b"released"


def is_running(pid: int, marker: str) -> bool:
    """Tell whether process ``pid`` lives and has ``marker`` among its arguments."""
    return _find(pid, marker) is not None


def terminate(pid: int, marker: str, *, timeout_s: float) -> None:
    """Ask a process to end, and kill it after ``timeout_s`` seconds."""
    process = _find(pid, marker)
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


def kill(pid: int, marker: str) -> None:
    """End a process at once, as a crash does."""
    process = _find(pid, marker)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait()


def exit_code(pid: int) -> int | None:
    """Return how a process ended (negative: by that signal; 0 where it is not our child), or None while it runs."""
    try:
        return psutil.Process(pid).wait(0) or 0
    except psutil.TimeoutExpired:
        return None
    except psutil.NoSuchProcess:
        return 0


def holder_of(port: int) -> str | None:
    """Name the process that listens on a TCP port, where the system tells us."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    return None


def _find(pid: int, marker: str) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return process if marker in process.cmdline() else None
    except psutil.Error:  # gone, a zombie, or another user's
        return None


class Guard:
    """Ends a process when this one is gone, by whatever death. Keep it, and ``release`` it when the need is over."""

    def __init__(self, pid: int, marker: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this file, run by this Python
            [sys.executable, "-P", __file__, str(pid), marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends this process, and only then the one it guards
        )

    def release(self) -> None:
        """Let the guarded process go on without this one."""
        with suppress(BrokenPipeError):
            self._process.communicate(_RELEASED)


def _guard(pid: int, marker: str) -> None:
    """Read until the pipe's other end is closed, which a death does too."""
    if sys.stdin.buffer.read() != _RELEASED:
        terminate(pid, marker, timeout_s=30)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), sys.argv[2])
