"""The broker's disk is full, which ends it; space is made, and it starts again: work goes on where it was.

``python -m tests.integration.evidence.full_disk --tries 5``, as a user who may mount: the broker, this command's own,
has its records on a small file system in memory. The summary tells how often the broker ended by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.broker.config import Layout
from streamserve.broker.process import is_running
from streamserve.broker.server import LocalBroker
from tests.integration.evidence.outages import Outages, outlived
from tests.integration.evidence.trials import Evidence, options
from tests.integration.state_driving import StateDriver
from tests.integration.waiting import WaitTooLong, wait_until

DISK_MB = 400
ENDS_S = 60.0
FULL_FOR_S = 5.0
"""How long a disk may stay full beyond the broker's end."""
NO_SPACE = "No space left on device"


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """Give ``folder`` as a file system of its own, in memory."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise SystemExit(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Generator[None]:
    """Leave no byte free on ``disk`` inside the block."""
    ballast = disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while os.write(descriptor, bytes(size)) == size:
                    pass
        yield
    finally:
        os.close(descriptor)
        ballast.unlink()


def run_fillings(broker: LocalBroker, layout: Layout, driver: StateDriver, evidence: Evidence, tries: int) -> None:
    """Fill the disk again and again, and judge what the app has come to."""
    outages = Outages(driver, evidence, tries)
    for _ in range(tries):
        outages.burden()
        with full(layout.topics):
            ended = _ends(broker, layout)
            time.sleep(outages.chance.random() * FULL_FOR_S)
        evidence.did["the broker ended by itself" if ended else "the broker ran on"] += 1
        evidence.did[f"lines of its log with {NO_SPACE!r}"] += layout.log.read_text(errors="replace").count(NO_SPACE)
        if ended:
            broker.start()
        outages.resume("full disk")
    outages.judge()


def _ends(broker: LocalBroker, layout: Layout) -> bool:
    pid = broker.running.pid
    try:
        wait_until(lambda: not is_running(pid, layout.marker), "the end of a broker whose disk is full", ENDS_S)
    except WaitTooLong:
        return False
    return True


def main() -> int:
    """Fill the disk; return the exit code."""
    given = options(__doc__, tries=5).parse_args()
    evidence = Evidence("full disk under load", given.seed)
    with TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "broker")
        with small_disk(layout.topics), LocalBroker(layout.data_dir) as broker:
            outlived(
                broker.address,
                Path(folder),
                evidence,
                lambda driver: run_fillings(broker, layout, driver, evidence, given.tries),
            )
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
