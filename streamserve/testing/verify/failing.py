"""Which calls of a worker fail in a storm, and what became of it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Failing", "Forced"]

_COMMIT: Final = "producer.commit_transaction"
_BEFORE_COMMIT: Final = ("producer.flush", "producer.send_offsets")
_SIDES: Final = ("before", "after")
_UNANSWERED: Final = "raise=_TIMED_OUT"
_FIRST_CALL: Final = 2
_CALLS_EACH: Final = 7
"""One failure in so many commits: a worker has to commit in between, or it waits longer before each new start."""
_LAST_CALL: Final = 60
_MOST: Final = 6
"""Failures of one kind that a start is given at most."""
_SPARE: Final = 2
"""So many times the failures that are still wanted are planned: some workers die before theirs come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What failed: errors that ask for an ``abort``, and commits without an answer.

    ``done`` were done when the answer got lost, ``undone`` never began. ``settled`` of all these were followed by a
    commit of the same process; the others were left to the one that came after its death.

    >>> Forced.told(["producer.flush:before:2:raise=_FENCED", "producer.commit_transaction:after:3:raise=_TIMED_OUT"])
    Forced(aborts=1, done=1, undone=0, settled=0)
    """

    aborts: int = 0
    done: int = 0
    undone: int = 0
    settled: int = 0

    @property
    def unknown(self) -> int:
        """Return how many commits had no answer."""
        return self.done + self.undone

    @staticmethod
    def told(notes: list[str]) -> Forced:
        """Return the counts of the lines that fault switches have noted."""
        seen = Counter[str]()
        for line in notes:
            match line.replace(" ", ":").split(":"):
                case ["settled", count]:
                    seen["settled"] += int(count)
                case [call, side, _, action] if action == _UNANSWERED and call == _COMMIT:
                    seen["done" if side == "after" else "undone"] += 1
                case [_, _, _, action] if action.startswith("raise"):
                    seen["aborts"] += 1
                case _:
                    pass
        return Forced(**seen)

    def as_dict(self) -> dict[str, int]:
        """Return plain data for JSON."""
        return {
            "forced_aborts": self.aborts,
            "forced_unknown": self.unknown,
            "unknown_committed": self.done,
            "unknown_aborted": self.undone,
            "settled_by_itself": self.settled,
            "settled_by_successor": self.aborts + self.unknown - self.settled,
        }


@dataclass(slots=True)
class Failing:
    """Chooses what each start of a worker is to fail at; all randomness is from ``chance``.

    A start is given one error that asks for an abort and one commit without an answer, or more where otherwise fewer
    than ``aborts`` and ``unknown`` would come about; half of the starts end themselves inside a later commit. Workers
    note what happens in the file ``notes``.
    """

    chance: random.Random
    notes: Path
    aborts: int = 0
    unknown: int = 0
    forced: Forced = field(default_factory=Forced)

    def look(self) -> Forced:
        """Read the notes; return what happened so far."""
        if self.notes.exists():
            self.forced = Forced.told(self.notes.read_text().splitlines())
        return self.forced

    def choose(self, starts_left: int) -> str:
        """Return the faults of one start, for its switch; about ``starts_left`` more will follow."""
        forced, chance = self.look(), self.chance
        aborts = _share(self.aborts - forced.aborts, starts_left)
        unknown = _share(self.unknown - forced.unknown, starts_left)
        kinds = [True] * aborts + [False] * unknown
        chance.shuffle(kinds)
        ordinals = sorted(chance.sample(range(_FIRST_CALL, _FIRST_CALL + _CALLS_EACH * len(kinds)), len(kinds)))
        faults = [self._fault(ordinal, is_abort=kind) for kind, ordinal in zip(kinds, ordinals, strict=True)]
        if chance.random() < 0.5:  # noqa: PLR2004 - half of them
            last = chance.randrange(2 * _FIRST_CALL, _LAST_CALL)
            faults.append(f"{chance.choice((*_BEFORE_COMMIT, _COMMIT))}:{chance.choice(_SIDES)}:{last}:kill")
        return ",".join(faults)

    def _fault(self, ordinal: int, *, is_abort: bool) -> str:
        call, action = (self.chance.choice(_BEFORE_COMMIT), "raise") if is_abort else (_COMMIT, _UNANSWERED)
        return f"{call}:{self.chance.choice(_SIDES)}:{ordinal}:{action}"


def _share(wanted: int, starts_left: int) -> int:
    """Return how many failures of a kind one start is given.

    >>> _share(0, 10), _share(20, 10), _share(20, 0)
    (1, 4, 6)
    """
    return max(1, min(_MOST, -(-_SPARE * wanted // max(1, starts_left))))
