"""What the workers of a driver do, read from the lines that they write."""

from __future__ import annotations

from collections import Counter

from tests.integration.driving import Driver, WorkerProcess
from tests.integration.waiting import wait_until

ONE_OF_TWO = ("assigned: [0]", "assigned: [1]")
BOTH = "assigned: [0, 1]"


def worker_of(driver: Driver, instance: str, **settings: str) -> WorkerProcess:
    """Return the worker that runs under a name; start one where none does."""
    running = [worker for worker in driver.workers if worker.running and worker.log.name.startswith(f"{instance}-")]
    return running[-1] if running else driver.start(instance, **settings)


def share_of(worker: WorkerProcess) -> str:
    """Return the line about the worker's last assignment, empty before the first."""
    return next((line for line in reversed(worker.lines) if line.startswith("assigned: ")), "")


def works_on(worker: WorkerProcess, *shares: str) -> bool:
    """Return whether the worker reads one of ``shares``, and waits for nothing."""
    return share_of(worker) in shares and worker.lines[-1] == "ready"


def wait_for_inputs_so_far(driver: Driver, *, all_but: int = 0) -> None:
    """Wait until all is committed that is written by now, ``all_but`` a few, for as long as it gets less each time."""
    written = driver.written()
    left = driver.behind(written)
    while left > all_but:
        before = left
        wait_until(lambda before=before: driver.behind(written) < before, f"a commit: {left} inputs wait for one", 120)
        left = driver.behind(written)


def reaction(worker: WorkerProcess, noted: int) -> str:
    """Return why the worker began anew since it had ``noted`` lines, by the kinds of its errors, in words."""
    kinds = Counter(line.split(":")[0] for line in worker.lines[noted:] if _names_error(line))
    said = [f"{kind} x{count}" if count > 1 else kind for kind, count in sorted(kinds.items())]
    return ", ".join(said) or "went on"


def _names_error(line: str) -> bool:
    name, colon, _ = line.partition(": ")
    return bool(colon) and name.isidentifier() and name[0].isupper()
