"""Health of a worker: is it making progress, and is it ready?

*Healthy* means that the engine went around its loop within a deadline. A stall is named by its cause: what the engine
finished last, for how long it has stood, and where its thread is. *Ready* means that nothing is waited for:
partitions are assigned, their state is restored, each model gave its golden answer.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from streamserve.clock import Clock, SystemClock
from streamserve.errors import ConfigurationError
from streamserve.observer import Observer

_STACK_FRAMES = 30


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether the engine moves.

    ``seconds`` have passed since its last sign of life, ``step`` is what it finished last. ``stack`` is where the
    engine's thread stands, outermost frame first, as ``file:line in function``; empty while healthy.
    """

    healthy: bool
    seconds: float
    step: str
    stack: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "healthy": self.healthy,
            "seconds_since_progress": round(self.seconds, 3),
            "last_step": self.step,
            "stack": list(self.stack),
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
        self._deadline_s = deadline_s
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._waiting = {"assigned": "partitions from the consumer group"}
        self._waiting |= {f"model {model}": "its golden answer" for model in models}
        self._step = "start"
        self._alive_at = self._clock.monotonic()
        self._thread = threading.main_thread().ident

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
        healthy = seconds <= self._deadline_s
        return Liveness(healthy, seconds, self._step, () if healthy else _stack_of(self._thread))

    def progress(self) -> None:
        """Note a sign of life, and the thread that gives it."""
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

    def ready(self, ready: bool, why: str) -> None:
        """Take the engine's own word."""
        if ready:
            self.done("engine")
            self.done("recovery")
        else:
            self.wait_for("engine", why)


class Watchdog:
    """Calls ``on_stall`` once for each stall, from a daemon thread, so that logs name it without a scrape."""

    def __init__(self, health: Health, on_stall: Callable[[Liveness], None], *, interval_s: float = 5.0) -> None:
        self._health = health
        self._on_stall = on_stall
        self._interval_s = interval_s
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
        told = False
        while not self._stopped.wait(self._interval_s):
            liveness = self._health.liveness()
            if not liveness.healthy and not told:
                self._on_stall(liveness)
            told = not liveness.healthy


def _stack_of(thread: int | None) -> tuple[str, ...]:
    """Return where ``thread`` stands, without its source lines or values."""
    frames_now = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    frame: FrameType | None = None if thread is None else frames_now.get(thread)
    if frame is None:
        return ("the engine's thread has ended",)
    frames = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_STACK_FRAMES, lookup_lines=False)
    return tuple(f"{place.filename}:{place.lineno} in {place.name}" for place in reversed(frames))
