"""The supervisor starts crashed children again, drains on signals, and leaves no child behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from streamserve.errors import ConfigurationError
from streamserve.ops.supervisor import PARENT_FD, ChildEvent, RestartPolicy, Supervisor, What, watch_parent

QUICK = RestartPolicy(first_delay_s=0.01, max_delay_s=0.02, drain_s=10)
DRAINS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True)"
"""A child that ends with 0 on SIGTERM, as a worker does that has committed."""


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


class Recorder:
    """Keeps the events, and acts when one comes."""

    def __init__(self) -> None:
        self.events: list[ChildEvent] = []
        self.on: dict[What, Callable[[], None]] = {}

    def __call__(self, event: ChildEvent) -> None:
        self.events.append(event)
        if event.what in self.on:
            self.on[event.what]()

    def whats(self, index: int = 0) -> list[What]:
        return [event.what for event in self.events if event.index == index]


@pytest.fixture
def events() -> Recorder:
    return Recorder()


def run(commands: Sequence[Sequence[str]], events: Recorder, policy: RestartPolicy = QUICK) -> int:
    return Supervisor(commands, policy=policy, on_event=events).run()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_children_that_finish_are_not_started_again(events: Recorder) -> None:
    assert run([python("pass"), python("pass")], events) == 0
    assert events.whats(0) == events.whats(1) == ["started", "finished"]


def test_children_have_the_environment_that_is_given(events: Recorder) -> None:
    code = python("import os, sys; sys.exit(0 if os.environ['SHOP_SECRET'] == 'hunter2' else 2)")
    environment = {**os.environ, "SHOP_SECRET": "hunter2"}
    assert Supervisor([code], policy=QUICK, env=environment, on_event=events).run() == 0
    assert "SHOP_SECRET" not in os.environ


def test_a_crashed_child_is_started_again(events: Recorder, tmp_path: Path) -> None:
    mark = tmp_path / "been-here"
    code = f"""
        import os, signal
        if not os.path.exists({str(mark)!r}):
            open({str(mark)!r}, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run([python(code)], events) == 0
    assert events.whats() == ["started", "crashed", "restarting", "started", "finished"]
    assert events.events[1].code == -signal.SIGKILL
    assert events.events[2].delay_s == QUICK.first_delay_s


def test_wrong_usage_ends_all_children_and_is_not_tried_again(events: Recorder) -> None:
    waits = python(f"{DRAINS}; time.sleep(60)")
    assert run([waits, python("import sys, time; time.sleep(0.5); sys.exit(2)")], events) == 2
    assert events.whats(0) == ["started", "draining", "finished"]
    assert events.whats(1) == ["started", "misused"]


def test_too_many_crashes_within_the_window_end_all_children(events: Recorder) -> None:
    policy = RestartPolicy(first_delay_s=0.01, max_delay_s=0.04, max_crashes=3)
    assert run([python("import sys; sys.exit(3)")], events, policy) == 1
    assert events.whats() == ["started", "crashed", "restarting"] * 3 + ["started", "crashed", "gave-up"]
    assert [event.delay_s for event in events.events if event.what == "restarting"] == [0.01, 0.02, 0.04]


def test_crashes_outside_the_window_are_forgiven_and_a_healthy_time_resets_the_delay(events: Recorder) -> None:
    policy = RestartPolicy(first_delay_s=0.1, healthy_s=0.0, max_crashes=1, window_s=0.05)
    supervisor = Supervisor([python("import sys; sys.exit(3)")], policy=policy, on_event=events)
    events.on["restarting"] = lambda: supervisor.stop() if events.whats().count("restarting") == 3 else None
    assert supervisor.run() == 0
    assert [event.delay_s for event in events.events if event.what == "restarting"] == [0.1, 0.1, 0.1]


def test_stop_lets_children_drain(events: Recorder) -> None:
    code = f"{DRAINS}; time.sleep(60)"
    supervisor = Supervisor([python(code), python(code)], policy=QUICK, on_event=events)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    assert wait_until(lambda: len(events.events) == 2)
    time.sleep(0.5)
    supervisor.stop()
    thread.join(20)
    supervisor.stop()
    assert codes == [0]
    assert events.whats(0) == events.whats(1) == ["started", "draining", "finished"]


def deaf_child(ready: Path) -> list[str]:
    """Return the command of a child that ignores SIGTERM from when ``ready`` exists."""
    return python(f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(60)
    """)


def stop_when(ready: Path, supervisor: Supervisor) -> None:
    def stop() -> None:
        wait_until(ready.exists)
        supervisor.stop()

    threading.Thread(target=stop).start()


def test_a_child_that_does_not_drain_is_killed_at_the_deadline(events: Recorder, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    supervisor = Supervisor([deaf_child(ready)], policy=RestartPolicy(drain_s=0.3), on_event=events)
    stop_when(ready, supervisor)
    assert supervisor.run() == 1
    assert events.whats() == ["started", "draining", "killed"]
    assert events.events[-1].code == -signal.SIGKILL


def test_a_second_stop_kills_at_once(events: Recorder, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    supervisor = Supervisor([deaf_child(ready)], policy=RestartPolicy(drain_s=60), on_event=events)
    stop_when(ready, supervisor)
    events.on["draining"] = supervisor.stop
    began = time.monotonic()
    assert supervisor.run() == 1
    assert time.monotonic() - began < 60
    assert events.whats() == ["started", "draining", "killed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_forwarded_as_sigterm_and_handlers_restored(events: Recorder, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    events.on["started"] = threading.Timer(0.3, os.kill, (os.getpid(), number)).start
    assert run([python(f"{DRAINS}; time.sleep(60)")], events) == 0
    assert events.whats() == ["started", "draining", "finished"]
    assert signal.getsignal(number) is before


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    child = f"""
        import os, signal, sys, time
        from streamserve.ops.supervisor import watch_parent
        assert watch_parent(drain_s=0.2)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "deaf" else signal.SIG_DFL)
        with open({str(pids)!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")
        time.sleep(60)
    """
    (tmp_path / "child.py").write_text(textwrap.dedent(child))
    commands = [[sys.executable, str(tmp_path / "child.py"), kind] for kind in ("polite", "deaf")]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from streamserve.ops.supervisor import Supervisor; Supervisor({commands!r}).run()"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
    )
    assert wait_until(lambda: pids.exists() and pids.read_text().count("\n") == 2)
    parent.kill()
    parent.communicate(timeout=20)  # the children hold the pipe's other end for as long as they live


def test_a_process_without_a_supervisor_has_no_parent_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT_FD, raising=False)
    assert not watch_parent()
    monkeypatch.setenv(PARENT_FD, "999999")
    assert not watch_parent()


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="cannot start /no/such/program: No such file"):
        Supervisor([["/no/such/program"]]).run()


def test_no_command_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="at least one command"):
        Supervisor([])


def test_negative_times_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="negative time"):
        RestartPolicy(drain_s=-1)
