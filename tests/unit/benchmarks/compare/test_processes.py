from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.benchmarks.compare.processes import running

PARENT = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
CHILD = "import sys, time\nwhile time.process_time() < 0.5: pass\nsys.stdin.read()"


def test_processor_time_and_memory_are_those_of_all_processes(tmp_path: Path) -> None:
    with running([sys.executable, "-c", PARENT, CHILD], os.environ, tmp_path) as engine:
        give_up = time.monotonic() + 30
        while not engine.usage.cpu_s or engine.usage.cpu_s[-1] < 0.5:
            assert time.monotonic() < give_up
            time.sleep(0.05)
    assert engine.usage.cpu_between(engine.usage.at[0], engine.usage.at[-1]) > 0.1
    assert engine.usage.most_resident() > 10 << 20


def test_an_engine_ends_when_its_input_does(tmp_path: Path) -> None:
    with running(
        [sys.executable, "-c", "import sys; sys.stdin.read(); print('ended')"], os.environ, tmp_path
    ) as engine:
        assert not engine.has_ended
    assert engine.has_ended
    assert engine.last_words() == "ended"
