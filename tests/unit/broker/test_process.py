"""Only the process that was meant is ended, and its guard outlives no one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator

import psutil
import pytest

from streamserve.broker.process import Guard, exit_code, is_running, kill, terminate

MARKER = "-Dmarked"
SLEEP = "import time; time.sleep(120)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"


@pytest.fixture
def sleeper() -> Generator[subprocess.Popen[str]]:
    """A process that carries the marker."""
    yield from _running(SLEEP)


@pytest.fixture
def stubborn() -> Generator[subprocess.Popen[str]]:
    """One that does not listen to SIGTERM."""
    yield from _running(STUBBORN)


def _running(program: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, MARKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_process_is_known_by_id_and_marker(sleeper: subprocess.Popen[str]) -> None:
    assert is_running(sleeper.pid, MARKER)
    assert not is_running(sleeper.pid, "-Dother")


def test_reused_id_is_left_alone(sleeper: subprocess.Popen[str]) -> None:
    terminate(sleeper.pid, "-Dother", timeout_s=0)
    kill(sleeper.pid, "-Dother")
    assert exit_code(sleeper.pid) is None


def test_terminated_process_is_gone(sleeper: subprocess.Popen[str]) -> None:
    terminate(sleeper.pid, MARKER, timeout_s=10)
    assert not psutil.pid_exists(sleeper.pid)
    assert not is_running(sleeper.pid, MARKER)


def test_stubborn_process_is_killed(stubborn: subprocess.Popen[str]) -> None:
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    terminate(stubborn.pid, MARKER, timeout_s=0.1)
    assert not psutil.pid_exists(stubborn.pid)


def test_exit_code_names_the_signal(sleeper: subprocess.Popen[str]) -> None:
    assert exit_code(sleeper.pid) is None
    sleeper.send_signal(signal.SIGKILL)
    psutil.wait_procs([psutil.Process(sleeper.pid)], timeout=10)
    assert not is_running(sleeper.pid, MARKER)


def test_released_guard_leaves_the_process_running(sleeper: subprocess.Popen[str]) -> None:
    Guard(sleeper.pid, MARKER).release()
    assert exit_code(sleeper.pid) is None


def test_guard_ends_the_process_when_its_owner_dies(sleeper: subprocess.Popen[str]) -> None:
    program = (
        "import os, sys; from streamserve.broker.process import Guard\n"
        "guard = Guard(int(sys.argv[1]), sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(sleeper.pid), MARKER], check=False)
    assert sleeper.wait(20) == -signal.SIGTERM
