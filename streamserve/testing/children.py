"""Child processes that end with the process that started them, and the ends of their logs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Lifeline", "last_lines", "wait_or_kill"]


class Lifeline:
    """A pipe by whose closing children see that this process is gone, however it ended.

    ``variable`` names the environment variable in which a child finds the descriptor to watch.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable
        self._read, self._write = os.pipe()

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], *, folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a child that writes to ``log``; it runs in ``folder``, by default in this process's own.

        It has a process group of its own: Ctrl-C is for this process, which may then let it drain.
        """
        return subprocess.Popen(  # noqa: S603 - our own command, without a shell
            command,
            cwd=folder,
            env={**environment, self._variable: str(self._read)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(self._read,),
            process_group=0,
        )

    def close(self) -> None:
        """Let go of the pipe: children that still run see it as the end of this process."""
        os.close(self._read)
        os.close(self._write)


def wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return how a process has ended; kill it, and return ``None``, where it does not within ``seconds``."""
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def last_lines(log: Path, count: int) -> str:
    """Return the last ``count`` lines of a log; a log that was not begun has none."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""
