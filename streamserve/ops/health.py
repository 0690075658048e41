"""Health of a worker: is it making progress, and is it ready?

*Healthy* means that the engine gave a sign of life within a deadline: it went around its loop, or began or left an
agent, a step, a model, a call into Kafka. A stall is named by its cause: what the engine does, to which records, for
how long, and where its thread is. *Ready* means that nothing is waited for: partitions are assigned, their state is
restored, each model gave its golden answer.

Nothing can interrupt what stands still inside a library, so a watchdog can only tell of it, and end the process. What
waits for others has a time-out of its own, after which the engine starts again from what is committed:

=============================================  ========================================================================
what blocks                                    how long it may take
=============================================  ========================================================================
``consumer.poll``                              50 ms; what a rebalance does inside it: as the calls that it makes
``consumer.committed``                         2 s, and asked again, for as long as ``kafka.patience`` says
``consumer.offsets_for_times``                 2 s
``consumer.beginning``, ``stable_end``         10 s; so ``group.*``, ``changelog.high_watermark``, looking at topics
``changelog.read``                             50 ms, turn by turn
``fence.init_transactions``                    10 s
``producer.init_transactions``                 30 s, or ``shutdown_timeout`` if that is less
a full queue of messages, ``producer.flush``   15 s
``producer.send_offsets``                      10 s, and 12 s if the client does not keep to it (``kafka.deadline``)
``producer.abort_transaction``                 5 s, and 12 s in the same way
``producer.commit_transaction``                10 s; beyond 5 s its outcome counts as unknown
``consumer.close``                             the client's own; after it nothing is lost
reading features, pushes to Feast              the online store's own; none here
models, agents, operators, codecs, timers,     none: Python and native code cannot be interrupted
lifespans
=============================================  ========================================================================

What has no time-out, or does not keep it, is what the watchdog is for.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple, Protocol

from streamserve.clock import Clock, SystemClock
from streamserve.errors import ConfigurationError
from streamserve.observer import Observer
from streamserve.records import Located, Span

_STACK_FRAMES = 30


class _Doing(NamedTuple):
    """What the engine began and has not left."""

    kind: str
    name: str
    at: Located | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether the engine moves.

    ``seconds`` have passed since its last sign of life, ``step`` is what it finished last. The rest is empty while
    healthy: ``doing`` is what it does, outermost first, such as ``("agent predict", "features delay_v1")``, ``at``
    where the records stand that it does it to, ``stack`` where its thread stands, outermost frame first, as
    ``file:line in function``.
    """

    healthy: bool
    seconds: float
    step: str
    stack: tuple[str, ...] = ()
    doing: tuple[str, ...] = ()
    at: tuple[Span, ...] = ()
    paused: bool = False
    """Whether the app is told to pause: its workers move all the same, and stay in their group."""

    @property
    def call(self) -> str:
        """Return the innermost of what the engine does; between two of them, ``engine``."""
        return self.doing[-1] if self.doing else "engine"

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "healthy": self.healthy,
            "seconds_since_progress": round(self.seconds, 3),
            "doing": list(self.doing),
            "at": list(map(str, self.at)),
            "last_step": self.step,
            "stack": list(self.stack),
            "paused": self.paused,
        }


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the worker serves, and if not, what it waits for, by name."""

    waiting_for: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Return whether nothing is waited for."""
        return not self.waiting_for

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {"ready": self.ready, "waiting_for": dict(self.waiting_for)}


class Health(Observer):
    """Keeps a worker's liveness and readiness from the engine's events.

    ``models`` are waited for by name until ``model_loaded``, which follows the golden answer; the engine's own
    ``ready`` tells of restoring. ``deadline_s`` must exceed the longest step, for example one batch of a slow model.

    >>> health = Health(models=["delay"])
    >>> health.readiness().as_dict()["waiting_for"]
    {'assigned': 'partitions from the consumer group', 'model delay': 'its golden answer'}
    >>> health.assigned({"flights": [0]})
    >>> health.model_loaded("delay", "1", "ab12", 256)
    >>> health.readiness().ready
    True
    """

    def __init__(
        self,
        *,
        deadline_s: float = 60.0,
        models: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        if deadline_s <= 0:
            raise ConfigurationError(f"the health deadline is {deadline_s} s; it must be positive")
        self.deadline_s = deadline_s
        """Seconds without a sign of life that make a stall."""
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._waiting = {"assigned": "partitions from the consumer group"}
        self._waiting |= {f"model {model}": "its golden answer" for model in models}
        self._step = "start"
        self._paused = False
        self._alive_at = self._clock.monotonic()
        self._thread = threading.main_thread().ident
        self._doing: list[_Doing] = []

    def wait_for(self, name: str, why: str) -> None:
        """Hold the worker unready until ``done(name)``."""
        with self._lock:
            self._waiting[name] = why

    def done(self, name: str) -> None:
        """Stop waiting for ``name``."""
        with self._lock:
            self._waiting.pop(name, None)

    def readiness(self) -> Readiness:
        """Return what is waited for now."""
        with self._lock:
            return Readiness(dict(self._waiting))

    def liveness(self) -> Liveness:
        """Return whether the engine gave a sign of life within the deadline, and where it stands if not."""
        seconds = self._clock.monotonic() - self._alive_at
        if seconds <= self.deadline_s:
            return Liveness(True, seconds, self._step, paused=self._paused)
        doing = tuple(self._doing)
        located = next((each.at for each in reversed(doing) if each.at is not None), None)
        at = () if located is None else tuple(located.spans())
        stack = _stack_of(self._thread)
        return Liveness(False, seconds, self._step, stack, tuple(map(str, doing)), at, paused=self._paused)

    def entered(self, kind: str, name: str, at: Located | None = None) -> None:
        """Note a sign of life, and what begins."""
        self._doing.append(_Doing(kind, name, at))
        self._alive_at = self._clock.monotonic()

    def left(self) -> None:
        """Note a sign of life, and what is over."""
        if self._doing:
            self._doing.pop()
        self._alive_at = self._clock.monotonic()

    def progress(self) -> None:
        """Note a sign of life, and the thread that gives it; nothing is in hand any more."""
        self._doing.clear()
        self._alive_at = self._clock.monotonic()
        self._thread = threading.get_ident()

    def processed(self, step: str, records: int, seconds: float) -> None:
        """Note the step for the report of a stall."""
        del records, seconds
        self._step = f"step {step}"

    def committed(self, records: int, seconds: float) -> None:
        """Note the commit for the report of a stall; a recovery that got here is over."""
        del records, seconds
        self._step = "commit"
        if "recovery" in self._waiting:
            self.done("recovery")

    def aborted(self, reason: str, message: str) -> None:
        """Wait for the recovery."""
        self._step = "abort"
        self.wait_for("recovery", f"after {reason}: {message}")

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        """Stop waiting for an assignment; an empty one makes a ready spare."""
        del partitions
        self._step = "assignment"
        self.done("assigned")
        self.done("recovery")

    def restored(self, group: str, seconds: float) -> None:
        """Note the restore for the report of a stall."""
        del seconds
        self._step = f"restore of {group}"

    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        """Stop waiting for ``model``."""
        del version, sha256, batch_size
        self.done(f"model {model}")

    def paused(self, paused: bool, why: str) -> None:
        """Note it; readiness tells why."""
        del why
        self._paused = paused

    def ready(self, ready: bool, why: str) -> None:
        """Take the engine's own word."""
        if ready:
            self.done("engine")
            self.done("recovery")
        else:
            self.wait_for("engine", why)


class StallListener(Protocol):
    """Who wants to know of stalls; called in the watchdog's thread."""

    def stalled(self, liveness: Liveness) -> None:
        """The engine stands still; told once for each stall."""

    def standing(self, liveness: Liveness) -> None:
        """The engine still stands; told again and again."""

    def moving(self, seconds: float) -> None:
        """The engine goes on, after it stood for about ``seconds``."""


class Watchdog:
    """Tells ``listeners`` of stalls from a daemon thread, so that logs name them without a scrape.

    It looks every ``interval_s``, and takes for a stall what it sees in two looks that follow each other: a process
    that was paused is given the time to go on. When the engine stood for ``hopeless_s`` (0: never) in its eyes,
    ``give_up`` is called, once.
    """

    def __init__(
        self,
        health: Health,
        listeners: Sequence[StallListener],
        *,
        interval_s: float = 5.0,
        hopeless_s: float = 0.0,
        give_up: Callable[[Liveness], None] | None = None,
    ) -> None:
        self._health = health
        self._listeners = listeners
        self._interval_s = interval_s
        self._hopeless_s = hopeless_s
        self._give_up = give_up
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="streamserve-watchdog", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to watch."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, stood = 0, 0.0
        while not self._stopped.wait(self._interval_s):
            liveness = self._health.liveness()
            if liveness.healthy:
                if seen > 1:
                    self._tell(lambda listener, stood=stood: listener.moving(stood))
                seen, stood = 0, 0.0
                continue
            seen, stood = seen + 1, liveness.seconds
            self._look_at(liveness, seen)

    def _look_at(self, liveness: Liveness, seen: int) -> None:
        """Tell of a stall that was ``seen`` so many times, and give up in the end."""
        if seen == 2:  # noqa: PLR2004 - one look may be the first after a pause
            self._tell(lambda listener: listener.stalled(liveness))
        if seen > 1:
            self._tell(lambda listener: listener.standing(liveness))
        watched_s = self._health.deadline_s + seen * self._interval_s
        if self._give_up is not None and self._hopeless_s and watched_s >= self._hopeless_s:
            give_up, self._give_up = self._give_up, None
            give_up(liveness)

    def _tell(self, tell: Callable[[StallListener], None]) -> None:
        for listener in self._listeners:
            tell(listener)


def _stack_of(thread: int | None) -> tuple[str, ...]:
    """Return where ``thread`` stands, without its source lines or values."""
    frames_now = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    frame: FrameType | None = None if thread is None else frames_now.get(thread)
    if frame is None:
        return ("the engine's thread has ended",)
    frames = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_STACK_FRAMES, lookup_lines=False)
    return tuple(f"{place.filename}:{place.lineno} in {place.name}" for place in reversed(frames))
