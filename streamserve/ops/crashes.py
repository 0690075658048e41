"""Records that end the process natively: found by bisection across restarts, and set aside.

A segmentation fault in a model leaves nobody to say which record it was. What the process can leave is a trace, which
Python's ``faulthandler`` writes in the signal's handler, and the line of a journal that was written before. In ordinary
life nothing is written. A process that finds a trace

1. takes pieces of up to ``PIECE`` records, and notes before each agent's turn which it is about to get;
2. if a piece was in an agent's hands at the next death, takes its records, and those before them, one at a time;
3. if a record was alone there at ``ALONE`` deaths, dead-letters it in that agent's name, reason ``crashed``.

So the first record at fault costs 1 + 1 + ``ALONE`` deaths, and each that follows soon one less at most. After
``careful_records`` committed records, or ``CAREFUL_SECONDS``, batches are as large as before.

A trace is left by SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT. SIGKILL leaves none: it is an operator's, or the
kernel's when memory runs out, and says nothing of records. Nor are those convicted that end the process outside of
agents, in a decoder for example; the trace tells where. Lines of the journal are not forced to the disk: what a process
wrote survives its death, and a machine that dies at the same time loses a try, nothing else.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from streamserve.clock import Clock, SystemClock
from streamserve.errors import CrashError
from streamserve.folders import state_home
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import Observer
from streamserve.records import Coordinates, Located, Origin, Span
from streamserve.settings import Settings

__all__ = ["ALONE", "CAREFUL_SECONDS", "PIECE", "CrashJournal", "crash_folder"]

PIECE: Final = 64
"""Records of a batch while nobody knows which of them ends the process: few enough to be taken one at a time after."""

ALONE: Final = 2
"""Deaths with one record in hand that convict it; the first may be a coincidence."""

CAREFUL_SECONDS: Final = 600.0
"""The time in which the supervisor counts crashes, after which it takes them for unrelated."""

_FORGOTTEN_MS: Final = 24 * 3_600_000
_TRACE_LINES: Final = 40

T = TypeVar("T")


class _InHand(msgspec.Struct, frozen=True):
    """What an agent was about to get."""

    step: str
    spans: Sequence[Span]


class _Tried(msgspec.Struct):
    """How often the process died with this record alone in an agent's hands."""

    step: str
    at: Coordinates
    deaths: int = 0


class _Known(msgspec.Struct):
    """What earlier processes learnt; ``suspects`` were in hand at the last death."""

    at_ms: int
    deaths: int = 0
    suspects: Sequence[Span] = ()
    tried: list[_Tried] = []

    def learn(self, found: _InHand | None) -> None:
        """Count a death with ``found`` in hand."""
        self.deaths += 1
        self.suspects = () if found is None else found.spans
        if found is None or len(found.spans) != 1 or found.spans[0].first != found.spans[0].last:
            return
        at = Coordinates(*found.spans[0][:3])
        tried = next((each for each in self.tried if (each.step, each.at) == (found.step, at)), None)
        if tried is None:
            tried = _Tried(found.step, at)
            self.tried.append(tried)
        tried.deaths += 1


def crash_folder(app: str, settings: Settings) -> Path:
    """Return where the worker of ``settings`` keeps its journal: beside its tables on disk."""
    return (settings.state_dir or state_home() / "tables") / app / settings.instance / "crashes"


class CrashJournal:
    """Learns from the process before this one, and leaves word to the next; a context around the worker's life.

    What has to be looked at closely is told to ``quarantine``. ``observer`` must hear the engine's events.
    """

    def __init__(
        self, folder: Path, quarantine: Quarantine, *, careful_records: int = 0, clock: Clock | None = None
    ) -> None:
        self.quarantine = quarantine
        self.trace: Sequence[str] = ()
        """Where the process before this one died, as ``faulthandler`` tells it; empty if it did not."""
        self.deaths = 0
        """How many processes died since this began, as far as they are remembered; 0 once care has ended."""
        self.unusable = ""
        """Why no journal can be kept; empty if it can."""
        self.observer: Observer = Observer()
        self._folder = folder
        self._careful_records = careful_records
        self._clock: Clock = clock or SystemClock()
        self._trace_file: Any = None
        self._hand: int | None = None
        self._handled = False

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            self.unusable = f"{self._folder}: {error.strerror}"
        return self

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "trace"
        if path.exists():
            self.trace = _told(path.read_text(errors="replace"))
        known = self._read("journal", _Known)
        if known is not None and self._clock.now_ms() - known.at_ms > _FORGOTTEN_MS:
            known = None
        if self.trace:
            known = known or _Known(self._clock.now_ms())
            known.learn(self._read("hand", _InHand))
            self._replace("journal", msgspec.json.encode(known))
        if known is not None:
            self._look_closely(known)
        self._trace_file = path.open("w")
        self._handled = faulthandler.is_enabled()
        faulthandler.enable(self._trace_file)

    def _look_closely(self, known: _Known) -> None:
        """Have the engine take records in pieces, those that are suspected one at a time, and convicted ones never."""
        self.deaths = known.deaths
        quarantine = self.quarantine
        quarantine.piece = PIECE
        quarantine.one_by_one = bool(known.suspects)
        quarantine.suspect({(span.topic, span.partition): span.last + 1 for span in known.suspects})
        for tried in known.tried:
            if tried.deaths >= ALONE:
                text = f"agent {tried.step!r}: the process died {tried.deaths} times with this record alone in work"
                quarantine.refused[Origin(tried.step, tried.at)] = CrashError(text)
        self._hand = os.open(self._folder / "hand", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.observer = _Scribe(self, self._careful_records, self._clock)

    def begin(self, step: str, spans: Sequence[Span]) -> None:
        """Note what ``step`` is about to get."""
        if self._hand is not None:
            os.ftruncate(self._hand, 0)
            os.pwrite(self._hand, msgspec.json.encode(_InHand(step, spans)), 0)

    def end(self) -> None:
        """Note that nothing is in an agent's hands."""
        if self._hand is not None:
            os.ftruncate(self._hand, 0)

    def calm(self) -> bool:
        """Go back to batches as they were; return whether nothing was left to be looked at."""
        if self.quarantine.is_active:
            return False
        self.quarantine.piece, self.deaths = None, 0
        self._let_go()
        (self._folder / "journal").unlink(missing_ok=True)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave no trace: the process ends by itself. What was learnt stays, for a day, unless it was settled."""
        self._let_go()
        if self._trace_file is None:
            return
        faulthandler.disable()
        if self._handled and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)
        self._trace_file.close()
        (self._folder / "trace").unlink(missing_ok=True)
        with suppress(OSError):  # what is not empty stays
            for folder in (self._folder, *self._folder.parents[:2]):
                folder.rmdir()

    def _let_go(self) -> None:
        if self._hand is not None:
            os.close(self._hand)
            self._hand = None
            (self._folder / "hand").unlink(missing_ok=True)

    def _read(self, name: str, kind: type[T]) -> T | None:
        """Return what is in a file, ``None`` where there is nothing that can be read."""
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _replace(self, name: str, content: bytes) -> None:
        draft = self._folder / f"{name}.new"
        draft.write_bytes(content)
        draft.replace(self._folder / name)


class _Scribe(Observer):
    """Writes down what agents are about to get, until enough has gone well."""

    def __init__(self, journal: CrashJournal, records: int, clock: Clock) -> None:
        self._journal = journal
        self._left = records
        self._clock = clock
        self._until = clock.monotonic() + CAREFUL_SECONDS
        self._is_agent: list[bool] = []
        self._is_calm = False

    def entered(self, kind: str, name: str, at: Located | None = None) -> None:
        is_agent = kind == "agent" and at is not None and not self._is_calm
        self._is_agent.append(is_agent)
        if is_agent and at is not None:
            self._journal.begin(name, at.spans())

    def left(self) -> None:
        if self._is_agent and self._is_agent.pop():
            self._journal.end()

    def progress(self) -> None:
        if any(self._is_agent):
            self._journal.end()
        self._is_agent.clear()

    def committed(self, records: int, seconds: float) -> None:
        del seconds
        self._left -= records
        if not self._is_calm and (self._left <= 0 or self._clock.monotonic() > self._until):
            self._is_calm = self._journal.calm()


def _told(trace: str) -> Sequence[str]:
    """Return the lines of a trace that tell something; it has files, lines and functions, no values."""
    lines = [line.strip() for line in trace.splitlines()]
    return [line for line in lines if line and not line.startswith("Extension modules")][:_TRACE_LINES]
