"""A switch that stops, fails or delays a worker at a named Kafka call.

A fault reads ``CALL:WHEN:ORDINAL:ACTION``; several are separated by commas::

    producer.commit_transaction:after:3:kill      SIGKILL to itself when the third commit has returned
    producer.flush:before:2:raise                 the second flush raises an error that asks for an abort
    producer.commit_transaction:after:1:raise=_TIMED_OUT
    consumer.poll:before:10:pause:6.5             stand still for 6.5 seconds
    producer.begin_transaction:after:1:exit       end without a word, exit status 70

Ordinals count from 1, per call and side, over the whole life of the process. Each fault happens once.

With ``STREAMSERVE_FAULT_NOTES``, each is noted in a file before it happens, on a line of its own; and ``settled N``
once a commit follows N errors: the process itself has settled what these left open.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args

from streamserve.errors import ConfigurationError
from streamserve.kafka.calls import CALL_NAMES, Hook, When
from streamserve.kafka.errors import failure_named

__all__ = ["FAULT_VARIABLE", "NOTES_VARIABLE", "Action", "Fault", "FaultSwitch", "from_environment", "parse_faults"]

FAULT_VARIABLE: Final = "STREAMSERVE_FAULT"
"""The environment variable that gives a worker process its faults."""

NOTES_VARIABLE: Final = "STREAMSERVE_FAULT_NOTES"
"""The environment variable that names the file of notes; processes may share one."""

EXIT_STATUS: Final = 70
"""With this status the action ``exit`` ends the process (``EX_SOFTWARE`` of sysexits.h)."""

DEFAULT_ERROR: Final = "INVALID_PRODUCER_EPOCH"

Action: TypeAlias = Literal["kill", "raise", "pause", "exit"]

_COMMITTED: Final = ("producer.commit_transaction", "after")

_FORM: Final = "CALL:before|after:ORDINAL:kill|exit|raise[=ERROR]|pause:SECONDS"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what happens at the ``ordinal``-th time that ``call`` is about to begin, or has returned.

    ``error`` is the name of the Kafka error that ``raise`` raises, ``seconds`` how long ``pause`` takes.

    Raises:
        ConfigurationError: there is no such call, or the numbers make no sense.
    """

    call: str
    when: When
    ordinal: int
    action: Action
    error: str = DEFAULT_ERROR
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.call not in CALL_NAMES:
            raise ConfigurationError(f"fault at {self.call!r}: there is no such call, only {', '.join(CALL_NAMES)}")
        if self.ordinal < 1 or self.seconds < 0:
            raise ConfigurationError(f"fault at {self.call!r}: ordinals count from 1, and pauses are 0 s or longer")
        try:
            failure_named(self.error)
        except KeyError as error:
            raise ConfigurationError(f"fault at {self.call!r}: Kafka has no error {self.error!r}") from error

    def __str__(self) -> str:
        """Return the text that ``parse_faults`` reads it from.

        >>> str(Fault("producer.flush", "before", 2, "raise", error="_TIMED_OUT"))
        'producer.flush:before:2:raise=_TIMED_OUT'
        """
        details = {"raise": f"={self.error}", "pause": f":{self.seconds:g}"}
        return f"{self.call}:{self.when}:{self.ordinal}:{self.action}{details.get(self.action, '')}"

    def strike(self) -> None:
        """Let it happen.

        Raises:
            KafkaException: it is a ``raise``. Time-outs are marked as retriable, all others as asking for an abort.
        """
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "exit":
            os._exit(EXIT_STATUS)
        if self.action == "raise":
            raise failure_named(self.error)
        time.sleep(self.seconds)


class FaultSwitch:
    """A ``Hook`` for ``Worker(hook=...)`` that lets each of its faults happen once, when its turn comes.

    ``note`` is given each line of the notes.

    >>> switch = FaultSwitch([Fault("consumer.poll", "after", 2, "pause")])
    >>> for _ in range(3):
    ...     switch("consumer.poll", "before")
    ...     switch("consumer.poll", "after")
    >>> [fault.ordinal for fault in switch.struck], switch.counts["consumer.poll", "after"]
    ([2], 3)
    """

    def __init__(self, faults: Sequence[Fault] = (), note: Callable[[str], object] | None = None) -> None:
        self._note = note
        self._raised = 0
        self._faults = {(fault.call, fault.when, fault.ordinal): fault for fault in faults}
        self.counts: Counter[tuple[str, When]] = Counter()
        """How often each side of each call was passed."""
        self.struck: list[Fault] = []
        """The faults that have happened."""

    def __call__(self, name: str, when: When) -> None:
        """Count one side of a call; let the fault happen whose turn it is."""
        self.counts[name, when] += 1
        fault = self._faults.get((name, when, self.counts[name, when]))
        if fault is not None:
            self.struck.append(fault)
            self._raised += fault.action == "raise"
            self._tell(str(fault))
            fault.strike()
        elif self._raised and (name, when) == _COMMITTED:
            self._tell(f"settled {self._raised}")
            self._raised = 0

    def _tell(self, line: str) -> None:
        if self._note is not None:
            self._note(line)


def parse_faults(text: str) -> list[Fault]:
    """Return the faults that ``text`` describes.

    >>> parse_faults("producer.flush:before:2:kill, consumer.poll:after:1:pause:0.5")[1].seconds
    0.5
    >>> parse_faults("producer.flush:before:1:raise=_TIMED_OUT")[0].error
    '_TIMED_OUT'

    Raises:
        ConfigurationError: a part of it is no fault.
    """
    return [_parse(part.strip()) for part in text.split(",") if part.strip()]


def _parse(text: str) -> Fault:
    match text.split(":"):
        case [call, ("before" | "after") as when, ordinal, action]:
            seconds = "0"
        case [call, ("before" | "after") as when, ordinal, "pause" as action, seconds]:
            pass
        case _:
            raise ConfigurationError(f"fault {text!r}: write {_FORM}")
    name, _, error = action.partition("=")
    if name not in get_args(Action) or (error and name != "raise"):
        raise ConfigurationError(f"fault {text!r}: {action!r} is no action; write {_FORM}")
    try:
        return Fault(call, when, int(ordinal), cast("Action", name), error or DEFAULT_ERROR, float(seconds))
    except ValueError as problem:
        raise ConfigurationError(f"fault {text!r}: an ordinal or a duration is no number; write {_FORM}") from problem


def from_environment() -> Hook | None:
    """Return the switch that ``STREAMSERVE_FAULT`` describes, ``None`` where it is not set.

    Raises:
        ConfigurationError: its text is no list of faults.
    """
    text, notes = os.environ.get(FAULT_VARIABLE, ""), os.environ.get(NOTES_VARIABLE, "")
    if not text.strip():
        return None
    return FaultSwitch(parse_faults(text), _appender(notes)) if notes else FaultSwitch(parse_faults(text))


def _appender(path: str) -> Callable[[str], object]:
    """Return what writes a line to ``path``, whole and at once: this process may die next, and others write there."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return lambda line: os.write(file, f"{line}\n".encode())
