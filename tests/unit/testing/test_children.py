"""Children see the end of who started them; those that do not end are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from streamserve.testing.children import Lifeline, last_lines, wait_or_kill

PATIENCE_S = 60.0
WATCHES = """
import os
print("begins", flush=True)
os.read(int(os.environ["LIFE"]), 1)
print("alone")
"""


def test_a_child_sees_that_who_started_it_is_gone(tmp_path: Path) -> None:
    log, lifeline = tmp_path / "child.log", Lifeline("LIFE")
    with log.open("ab") as output:
        child = lifeline.start((sys.executable, "-c", WATCHES), os.environ, output, folder=tmp_path)
    assert child.poll() is None
    lifeline.close()
    assert wait_or_kill(child, PATIENCE_S) == 0
    assert last_lines(log, 5) == "begins\nalone"
    assert last_lines(log, 1) == "alone"


def test_a_process_that_does_not_end_is_killed() -> None:
    child = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(3_600)"))
    assert wait_or_kill(child, 0.0) is None
    assert child.returncode is not None


def test_a_log_that_was_not_begun_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log", 5) == ""
