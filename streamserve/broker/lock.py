"""A lock between processes, held on a file."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(file: Path) -> Generator[None]:
    """Hold the lock of ``file``, waiting for it where another process does.

    Its folder is made where it is missing. The system frees the lock when its holder dies.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
