"""Run worker processes, and start again those that crash.

The policy is that of process supervisors such as Erlang's (restart intensity within a period) and Kubernetes'
(exponential back-off, reset after a healthy while).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, Literal, TypeAlias

from streamserve.errors import ConfigurationError

EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
"""A child that ends so has found wrong usage or configuration: starting it again would not help."""

PARENT_FD: Final = "STREAMSERVE_SUPERVISOR_FD"
"""Names the descriptor on which a child sees the end of its supervisor; ``watch_parent`` reads it."""

_TICK_S: Final = 0.1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

What: TypeAlias = Literal["started", "finished", "crashed", "restarting", "misused", "gave-up", "draining", "killed"]


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """Something that happened to child number ``index``.

    ``code`` is its exit status (negative: the signal that ended it), ``delay_s`` the time until it is started again.
    """

    what: What
    index: int
    pid: int
    code: int | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When a crashed child is started again; times in seconds.

    The delay doubles from ``first_delay_s`` to ``max_delay_s``, and begins anew after ``healthy_s`` without a crash.
    More than ``max_crashes`` of one child within ``window_s`` end the supervisor. ``drain_s`` is what children get to
    end by themselves after SIGTERM, before SIGKILL: more than a commit takes.
    """

    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    healthy_s: float = 60.0
    max_crashes: int = 10
    window_s: float = 600.0
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        if min(self.first_delay_s, self.max_delay_s, self.healthy_s, self.window_s, self.drain_s) < 0:
            raise ConfigurationError("a restart policy has a negative time; all of its times are seconds from 0")
        if self.max_crashes < 0:
            raise ConfigurationError(f"max_crashes is {self.max_crashes}; it must be 0 or more")

    def delay(self, crashes_in_a_row: int) -> float:
        """Return the delay before the next start, after so many crashes in a row.

        >>> [RestartPolicy().delay(crashes) for crashes in (1, 2, 3, 20)]
        [0.5, 1.0, 2.0, 30.0]
        """
        doublings = min(crashes_in_a_row - 1, 60)
        return min(self.max_delay_s, self.first_delay_s * 2**doublings)


@dataclass(slots=True)
class _Child:
    """One command and the process that runs it now."""

    index: int
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float | None = 0.0
    in_a_row: int = 0
    crashes: deque[float] = field(default_factory=deque[float])

    def event(self, what: What, code: int | None = None, delay_s: float = 0.0) -> ChildEvent:
        pid = self.process.pid if self.process is not None else 0
        return ChildEvent(what, self.index, pid, code, delay_s)


class Supervisor:
    """Runs each of ``commands`` as a child process until all have finished, one is misused, or a signal comes.

    A child that ends with 0 has finished. One that ends with 2 found wrong usage or configuration: the others are
    ended and ``run`` returns 2. Any other end is a crash, after which it is started again by ``policy``; too many
    crashes end all, and ``run`` returns 1. SIGTERM and SIGINT (in the main thread) or ``stop`` send SIGTERM to the
    children, which drain and commit; a second signal kills them at once.

    Children are in process groups of their own, so that a terminal's Ctrl-C reaches them once, through the
    supervisor. They learn of a supervisor that was killed by ``watch_parent``. POSIX only.

    Each event goes to ``on_event``, in the thread that runs ``run``.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        *,
        policy: RestartPolicy | None = None,
        env: Mapping[str, str] | None = None,
        on_event: Callable[[ChildEvent], None] | None = None,
    ) -> None:
        if not commands:
            raise ConfigurationError("a supervisor needs at least one command; ask for one worker or more")
        self._children = [_Child(index, command) for index, command in enumerate(commands)]
        self._policy = policy or RestartPolicy()
        self._env = dict(os.environ if env is None else env)
        self._on_event = on_event or _ignore
        self._wake_read, self._wake_write = os.pipe()
        self._over = False
        self._stops = 0
        self._exit = 0

    def stop(self) -> None:
        """End all children as SIGTERM does; called again, at once. Safe from any thread and from signal handlers."""
        self._stops += 1
        if not self._over:
            os.write(self._wake_write, b".")

    def run(self) -> int:
        """Start the children and stay until they have ended; return the exit code. Runs once."""
        life_read, life_write = os.pipe()
        self._env[PARENT_FD] = str(life_read)
        try:
            with self._signals():
                self._supervise(life_read)
                self._drain()
        finally:
            self._kill_all()
            self._over = True
            for descriptor in (life_read, life_write, self._wake_read, self._wake_write):
                os.close(descriptor)
        return self._exit

    def _supervise(self, life_read: int) -> None:
        """Start, watch and start again, until something ends it."""
        while not self._stops and any(child.process or child.start_at is not None for child in self._children):
            for child in self._children:
                self._start_if_due(child, life_read)
                self._reap(child)
                if self._exit:
                    return
            self._sleep(self._until_next_start())

    def _start_if_due(self, child: _Child, life_read: int) -> None:
        if child.start_at is None or time.monotonic() < child.start_at:
            return
        child.start_at = None
        child.started_at = time.monotonic()
        try:
            child.process = subprocess.Popen(  # noqa: S603 - the caller's own commands, without a shell
                child.command, env=self._env, pass_fds=(life_read,), process_group=0, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot start {child.command[0]}: {error.strerror}; correct the command"
            ) from error
        self._on_event(child.event("started"))

    def _reap(self, child: _Child) -> None:
        """See whether ``child`` has ended, and decide what follows."""
        code = None if child.process is None else child.process.poll()
        if code is None:
            return
        if code == 0:
            self._ended(child, child.event("finished", code))
        elif code == EXIT_MISUSED:
            self._exit = EXIT_MISUSED
            self._ended(child, child.event("misused", code))
        else:
            self._crashed(child, code)

    def _crashed(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        self._on_event(child.event("crashed", code))
        child.in_a_row = 1 if now - child.started_at >= self._policy.healthy_s else child.in_a_row + 1
        child.crashes.append(now)
        while child.crashes[0] < now - self._policy.window_s:
            child.crashes.popleft()
        if len(child.crashes) > self._policy.max_crashes:
            self._exit = EXIT_FAILED
            self._ended(child, child.event("gave-up", code))
            return
        delay = self._policy.delay(child.in_a_row)
        child.start_at = now + delay
        self._ended(child, child.event("restarting", code, delay))

    def _ended(self, child: _Child, event: ChildEvent) -> None:
        child.process = None
        self._on_event(event)

    def _drain(self) -> None:
        """Send SIGTERM to those that run, and wait for them within the deadline."""
        for child in self._running():
            _signal(child, signal.SIGTERM)
            self._on_event(child.event("draining"))
        deadline = time.monotonic() + self._policy.drain_s
        while self._running() and time.monotonic() < deadline and self._stops <= 1:
            for child in self._running():
                self._note_end(child)
            self._sleep(_TICK_S)

    def _note_end(self, child: _Child) -> None:
        code = None if child.process is None else child.process.poll()
        if code is None:
            return
        drained = code in (0, -signal.SIGTERM)
        self._exit = self._exit or (0 if drained else EXIT_FAILED)
        self._ended(child, child.event("finished" if drained else "crashed", code))

    def _kill_all(self) -> None:
        for child in self._running():
            if child.process is not None and child.process.poll() is None:
                _signal(child, signal.SIGKILL)
                self._exit = self._exit or EXIT_FAILED
                code = child.process.wait()
                self._ended(child, child.event("killed", code))

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.process is not None]

    def _until_next_start(self) -> float:
        now = time.monotonic()
        starts = [child.start_at - now for child in self._children if child.start_at is not None]
        return max(0.0, min([_TICK_S, *starts]))

    def _sleep(self, seconds: float) -> None:
        """Wait, but wake at once for ``stop``; a pipe, because locks are not safe in signal handlers."""
        if select.select([self._wake_read], [], [], seconds)[0]:
            os.read(self._wake_read, 1024)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT; only the main thread may say so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stop()

        before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def watch_parent(*, drain_s: float = 30.0) -> bool:
    """End this process when its supervisor is gone: SIGTERM to itself, and SIGKILL ``drain_s`` seconds later.

    To be called early by a child. Returns whether there is a supervisor to watch. A pipe tells, which the system
    closes however the supervisor ends (Linux's PR_SET_PDEATHSIG would fire when a mere thread of it ends).
    """
    try:
        descriptor = int(os.environ.pop(PARENT_FD))
        os.set_inheritable(descriptor, False)
    except (KeyError, ValueError, OSError):
        return False
    threading.Thread(
        target=_end_with_parent, args=(descriptor, drain_s), name="streamserve-parent", daemon=True
    ).start()
    return True


def _end_with_parent(descriptor: int, drain_s: float) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_s)
    os.kill(os.getpid(), signal.SIGKILL)


def _signal(child: _Child, number: signal.Signals) -> None:
    """Send a signal to the child alone: what it started is its own to end."""
    if child.process is not None:
        child.process.send_signal(number)


def _ignore(event: ChildEvent) -> None:
    """Tell nobody."""
    del event
