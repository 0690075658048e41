"""What workers take of the machine, by the age of their processes, as Linux tells it under ``/proc``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["Sample", "sample"]

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a worker: when, since the soak began, and at what age of its process; both in seconds."""

    worker: int
    at_s: float
    age_s: float
    resident_mb: float
    descriptors: int
    threads: int


def sample(worker: int, pid: int, *, at_s: float, age_s: float) -> Sample | None:
    """Look at a process; ``None`` where it has ended."""
    process = Path("/proc") / str(pid)
    with suppress(OSError):
        pages = int((process / "statm").read_text().split()[1])
        return Sample(
            worker=worker,
            at_s=round(at_s, 1),
            age_s=round(age_s, 1),
            resident_mb=round(pages * _PAGE_MB, 1),
            descriptors=sum(1 for _ in (process / "fd").iterdir()),
            threads=sum(1 for _ in (process / "task").iterdir()),
        )
    return None
