"""Answers that are there before an agent asks for them, because it asked the same of nearly every event before.

An agent that awaits features and then a prediction is parked and resumed twice for each event. Most agents ask the same
of every event, so what they will ask is known as a batch comes in: it is answered for all rows at once, and the await
returns without parking. What is asked in another way, or of an event that the agent has changed, is asked as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.effects import UNFORESEEN, Target

Columns: TypeAlias = Sequence[Sequence[Any]]
"""What a target is asked with: by position, then by row."""

Habit: TypeAlias = "tuple[Foreseeing | None, ...]"
"""Whose answers a target is asked with, by position: ``None`` stands for the event itself."""

_FEWEST: Final = 32
"""Rows of a batch from which on foreseeing pays, and from which a habit can be told."""

_USUAL: Final = 0.9
"""The share of rows that have to ask: what is foreseen for the others is computed in vain."""

_PAUSE: Final = 100
"""Batches until habits are looked for again where there are none, or no more."""


class Foreseen:
    """What one target answers about the events of a batch, each answer to be taken once.

    ``places`` has the row of each event by its identity. ``fields`` reads from an event what the answers go by; one of
    which it reads something else than at first was changed. There are no answers for the rows ``refused``: they have to
    be asked for, and fail as they do alone. ``result`` is what the target wants to see again as it settles.

    >>> from types import SimpleNamespace as Event
    >>> events = [Event(user=1), Event(user=2), Event(user=3)]
    >>> places = {id(event): row for row, event in enumerate(events)}
    >>> foreseen = Foreseen(events, places, lambda event: event.user, ["a", "b", "c"])
    >>> events[1].user = 4
    >>> [foreseen.take(event) is UNFORESEEN for event in [*events, events[0]]], foreseen.rows()
    ([False, True, False, True], [0, 2])
    """

    __slots__ = ("_fields", "_known", "_left", "_missed", "answers", "result")

    def __init__(
        self,
        events: Sequence[Any],
        places: Mapping[int, int],
        fields: Callable[[Any], Any],
        answers: Sequence[Any],
        refused: Collection[int] = (),
        result: Any = None,
    ) -> None:
        self.answers = answers
        self.result = result
        self._fields = fields
        self._known: Sequence[Any] = list(map(fields, events)) if not refused else _known(fields, events, refused)
        self._missed = list(refused)
        self._left = {event: row for event, row in places.items() if row not in refused} if refused else dict(places)

    def take(self, payload: Any) -> Any:
        """Return the answer about the event ``payload``, or ``UNFORESEEN``."""
        row = self._left.pop(id(payload), None)
        if row is None:
            return UNFORESEEN
        if self._fields(payload) == self._known[row]:
            return self.answers[row]
        self._missed.append(row)
        return UNFORESEEN

    def rows(self) -> Sequence[int]:
        """Return the rows whose answers were taken."""
        every = range(len(self.answers))
        if not self._left and not self._missed:
            return every
        not_taken = {*self._left.values(), *self._missed}
        return [row for row in every if row not in not_taken]


class ForeseenRows(Foreseen):
    """What a model answers, asked with several objects by position: ``columns``, the events being at ``event``."""

    __slots__ = ("_event", "_others", "_width")

    def __init__(
        self,
        columns: Columns,
        event: int,
        places: Mapping[int, int],
        fields: Callable[[Any], Any],
        answers: Sequence[Any],
        refused: Collection[int] = (),
        result: Any = None,
    ) -> None:
        super().__init__(columns[event], places, fields, answers, refused, result)
        self._event = event
        self._width = len(columns)
        self._others = [(position, column) for position, column in enumerate(columns) if position != event]

    def take(self, payload: tuple[tuple[Any, ...], Mapping[str, Any]]) -> Any:
        """Return the answer where ``payload`` has no keywords, and just the objects that were foreseen."""
        given, values = payload
        if values or len(given) != self._width:
            return UNFORESEEN
        event = given[self._event]
        row = self._left.pop(id(event), None)
        if row is None:
            return UNFORESEEN
        if self._fields(event) == self._known[row]:
            for position, column in self._others:
                if given[position] is not column[row]:
                    break
            else:
                return self.answers[row]
        self._missed.append(row)
        return UNFORESEEN


def _known(fields: Callable[[Any], Any], events: Sequence[Any], refused: Collection[int]) -> list[Any]:
    """Return what ``fields`` reads of each event, of those not that were ``refused``: it may not be there."""
    return [None if row in refused else fields(event) for row, event in enumerate(events)]


def fields_of(names: Sequence[str]) -> Callable[[Any], Any]:
    """Return what reads the named fields of an event, to be compared with what it read before.

    >>> fields_of([])(1), fields_of(["real", "imag"])(1)
    (None, (1, 0))
    """
    return attrgetter(*names) if names else _nothing


def _nothing(event: Any) -> None:
    """Read nothing of ``event``."""
    del event


@runtime_checkable
class Foreseeing(Target, Protocol):
    """A target that can answer what it has not been asked yet."""

    def given(self, payload: Any) -> Sequence[Any] | None:
        """Return what ``payload`` asks with, by position; ``None`` where that cannot be foreseen."""
        ...

    def foresee(self, columns: Columns, event: int, places: Mapping[int, int], batch: RecordBatch) -> Foreseen | None:
        """Return the answers for all rows of ``batch``, asked with ``columns`` of which ``event`` has the events.

        ``places`` has the row of each event by its identity. ``None`` where these rows are not alike.
        """
        ...

    def settle(self, foreseen: Foreseen) -> None:
        """Take note of the answers that were taken, as if only those had been asked for."""
        ...


class Foresight:
    """Learns what one agent asks of every event, and has it answered as the next batch comes in."""

    def __init__(self, fewest: int = _FEWEST) -> None:
        self._fewest = fewest
        self._habits: dict[Foreseeing, Habit] = {}
        """Each behind those whose answers it is asked with."""
        self._foreseen: dict[Foreseeing, Foreseen] = {}
        self._noted: dict[Foreseeing, list[tuple[Sequence[Any], Sequence[int]]]] = {}
        self._pause = 0
        self.is_learning = False
        """Whether to ``note`` what is asked."""

    def begin(self, batch: RecordBatch) -> None:
        """Have answered what will be asked about ``batch``, as far as that is known."""
        self.is_learning = len(batch) >= self._fewest and not self._pause
        self._pause = max(self._pause - 1, 0)
        if not self._habits or len(batch) < self._fewest:
            return
        places = dict(zip(map(id, batch.values), range(len(batch)), strict=True))
        if len(places) < len(batch):
            return  # one object stands for several events
        for target, habit in self._habits.items():
            if all(source is None or source in self._foreseen for source in habit):
                columns = [batch.values if source is None else self._foreseen[source].answers for source in habit]
                target.foreseen = foreseen = target.foresee(columns, habit.index(None), places, batch)
                if foreseen is not None:
                    self._foreseen[target] = foreseen

    def note(self, target: Target, payloads: Sequence[Any], rows: Sequence[int]) -> None:
        """Take note of what ``target`` was asked all the same, and for which rows."""
        if isinstance(target, Foreseeing) and target not in self._habits:
            self._noted.setdefault(target, []).append((payloads, rows))

    def end(self, batch: RecordBatch) -> None:
        """Settle with all targets, and keep to the habits that are any."""
        for target, foreseen in self._foreseen.items():
            target.settle(foreseen)
        enough = _USUAL * len(batch)
        if any(len(foreseen.rows()) < enough for foreseen in self._foreseen.values()):
            self._habits.clear()
            self._pause = _PAUSE
        elif self._noted:
            self._learn(batch, enough)
        self.forget()

    def forget(self) -> None:
        """Let no answers be taken any more."""
        for target in self._foreseen:
            target.foreseen = None
        self._foreseen = {}
        self._noted = {}

    def _learn(self, batch: RecordBatch, enough: float) -> None:
        """Look for habits in what was noted; wait a while where there are none."""
        found: dict[Foreseeing, Habit] = {}
        for target, noted in self._noted.items():
            rows = list(chain.from_iterable(rows for _, rows in noted))
            if len(set(rows)) == len(rows) >= enough:
                habit = self._habit(target, list(chain.from_iterable(asked for asked, _ in noted)), rows, batch.values)
                if habit is not None:
                    found[target] = habit
        self._habits.update(found)
        if not found:
            self._pause = _PAUSE

    def _habit(
        self, target: Foreseeing, payloads: Sequence[Any], rows: Sequence[int], events: Sequence[Any]
    ) -> Habit | None:
        """Return what all of ``payloads``, each asked for one of ``rows``, have in common."""
        given = [parts for parts in map(target.given, payloads) if parts is not None]
        if len(given) < len(payloads) or len(set(map(len, given))) > 1:
            return None
        known = [(None, events), *((target, foreseen.answers) for target, foreseen in self._foreseen.items())]
        sources = [
            [source for source, answers in known if all(map(is_, column, map(answers.__getitem__, rows)))]
            for column in zip(*given, strict=True)
        ]
        habit = tuple(fitting[0] for fitting in sources if fitting)
        return habit if len(habit) == len(sources) and habit.count(None) == 1 else None
