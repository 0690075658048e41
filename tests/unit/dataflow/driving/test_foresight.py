"""What is answered before it is asked comes to what asking comes to, and counts as asked where it is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import Stream
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.driver import HandDriver
from streamserve.dataflow.driving.effects import Answers, Ready, ask, gather
from streamserve.dataflow.driving.foresight import Columns, Foreseen, ForeseenRows, Foresight, fields_of
from streamserve.errors import FeatureRowError, RecordError
from tests.unit.dataflow.fakes import batch_of

Op: TypeAlias = Literal["usual", "gather", "nothing", "twice", "changed", "other", "keyword", "raise"]
Script: TypeAlias = tuple[Op, int, int]
"""What the agent does with an event, and the event's user and amount."""

UNUSUAL: tuple[Op, ...] = ("gather", "nothing", "twice", "changed", "other", "keyword", "raise")


@dataclass(eq=False, slots=True)
class Event:
    """What the agent does, and what features and model go by; a negative ``user`` or ``amount`` is refused."""

    op: Op
    user: int
    amount: int


@dataclass(eq=False, slots=True)
class Lookup:
    """Features of an event's user, as objects of their own; ``asked`` notes the row of each look-up that counts."""

    priority: int = 0
    foreseen: Ready | None = None
    asked: list[int] = field(default_factory=list[int])
    resolved: list[int] = field(default_factory=list[int])

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:
        assert batch is not None
        self.asked += rows
        self.resolved.append(len(rows))
        return Answers(*self._found(payloads))

    def forget(self, rows: Collection[int]) -> None:
        raise AssertionError(f"no lists are taken, not of {len(rows)} rows either")

    def given(self, payload: Any) -> Sequence[Any] | None:
        return (payload,)

    def foresee(self, columns: Columns, event: int, places: Mapping[int, int], batch: RecordBatch) -> Foreseen | None:
        answers, errors = self._found(columns[event])
        assert len(answers) == len(batch)
        return Foreseen(columns[event], places, fields_of(["user"]), answers, errors)

    def settle(self, foreseen: Foreseen) -> None:
        self.asked += foreseen.rows()

    def _found(self, events: Sequence[Event]) -> tuple[list[list[int]], dict[int, Exception]]:
        errors = {place: FeatureRowError("no") for place, event in enumerate(events) if event.user < 0}
        return [[event.user * 10] for event in events], dict[int, Exception](errors)


@dataclass(eq=False, slots=True)
class Adding(Lookup):
    """A model that adds an event's amount, its feature and a keyword."""

    priority: int = 1

    def given(self, payload: Any) -> Sequence[Any] | None:
        return None if payload[1] else payload[0]

    def foresee(self, columns: Columns, event: int, places: Mapping[int, int], batch: RecordBatch) -> Foreseen | None:
        answers, errors = self._found([(row, {}) for row in zip(*columns, strict=True)])
        assert len(answers) == len(batch)
        return ForeseenRows(columns, event, places, fields_of(["amount"]), answers, errors)

    def _found(self, events: Sequence[Any]) -> tuple[list[Any], dict[int, Exception]]:
        sums = [(sum(part.amount if isinstance(part, Event) else part[0] for part in rows), kw) for rows, kw in events]
        errors = {place: FeatureRowError("no") for place, (total, _) in enumerate(sums) if total < 0}
        return [total + sum(keywords.values()) for total, keywords in sums], dict[int, Exception](errors)


class Scoring:
    """An agent that asks for features and a prediction, or does what its event says instead."""

    def __init__(self, fewest: int) -> None:
        self.features, self.model = Lookup(), Adding()
        self.driver = HandDriver(
            "a", lambda: self(Stream()), yields=True, ordering="key", record_of=_no_record, foresight=Foresight(fewest)
        )

    async def __call__(self, stream: Stream[Event]) -> AsyncIterator[Any]:
        async for event in stream:
            if event.op == "nothing":
                continue
            if event.op == "raise":
                raise ValueError("no")
            yield await self._answer(event)

    async def _answer(self, event: Event) -> Any:
        match event.op:
            case "gather":
                [row, other] = await gather(ask(self.features, event), ask(self.model, ((event,), {})))
                return row, other
            case "other":
                return await ask(self.features, Event("usual", event.user + 1, 0))
            case _:
                row = await ask(self.features, event)
        if event.op == "twice":
            row = await ask(self.features, event)
        if event.op == "changed":
            event.amount += 1
        return await ask(self.model, ((event, row), {"more": 5} if event.op == "keyword" else {}))

    def run(self, events: Sequence[Script]) -> tuple[Any, Any, list[int], list[int]]:
        """Return what a batch comes to, and the rows that counted as asked, of both targets."""
        self.features.asked, self.model.asked = [], []
        outcomes = self.driver.run(batch_of([Event(*event) for event in events]))
        assert self.features.foreseen is None
        assert self.model.foreseen is None
        errors = {row: _name(error) for row, error in outcomes.errors.items()}
        return outcomes.outputs, errors, sorted(self.features.asked), sorted(self.model.asked)


def _name(error: RecordError) -> str:
    return f"{type(error).__name__}: {error}"


def _no_record(*_: object) -> Any:
    raise AssertionError("records are not asked for")


numbers = st.integers(-1, 9)
usual = st.tuples(st.just("usual"), numbers, numbers)
unusual = st.tuples(st.sampled_from(UNUSUAL), numbers, numbers)
calm, wild = st.lists(usual, min_size=1, max_size=12), st.lists(usual | unusual, min_size=1, max_size=12)


@settings(max_examples=200)
@given(
    before=st.lists(calm, min_size=2, max_size=3),
    between=st.lists(wild, min_size=1, max_size=2),
    after=st.lists(calm, max_size=2),
)
def test_foresight_changes_nothing_of_what_events_come_to(
    before: list[list[Script]], between: list[list[Script]], after: list[list[Script]]
) -> None:
    foreseeing, asking = Scoring(fewest=1), Scoring(fewest=1_000)
    for events in (*before, *between, *after):
        assert foreseeing.run(events) == asking.run(events)


USUAL: Script = ("usual", 1, 2)


def test_what_is_usual_is_foreseen_once_it_was_asked_of_all_events_of_a_batch() -> None:
    app = Scoring(fewest=2)
    for _ in range(4):
        outputs, _, features, model = app.run([USUAL] * 50)
        assert outputs == [[12]] * 50
        assert features == model == list(range(50))
    assert app.features.resolved == [50]
    assert app.model.resolved == [50, 50]  # only then are the features foreseen that it is given


def test_rows_that_are_refused_are_asked_for_and_fail_alone() -> None:
    app = Scoring(fewest=2)
    for _ in range(3):
        app.run([USUAL] * 50)
    outputs, errors, features, _ = app.run([*[USUAL] * 49, ("usual", -1, 2)])
    assert outputs == [[12]] * 49 + [None]
    assert errors == {49: "FeatureRowError: no"}
    assert features == list(range(50))
    assert app.features.resolved == [50, 1]


def test_batches_of_few_rows_are_asked_for_as_ever() -> None:
    app = Scoring(fewest=2)
    for _ in range(4):
        app.run([USUAL])
    assert app.features.resolved == [1] * 4


def test_a_habit_that_is_broken_is_let_go() -> None:
    app = Scoring(fewest=2)
    for _ in range(3):
        app.run([USUAL] * 50)
    nothing: Script = ("nothing", 1, 2)
    app.run([*[USUAL] * 40, *[nothing] * 10])
    before = list(app.features.resolved)
    for _ in range(3):
        app.run([USUAL] * 50)
    assert app.features.resolved == [*before, 50, 50, 50]


def test_nothing_is_foreseen_where_one_object_stands_for_two_events() -> None:
    app, event = Scoring(fewest=2), Event("usual", 1, 2)
    for _ in range(3):
        assert app.driver.run(batch_of([event, event])).outputs == [[12], [12]]
    assert app.features.asked == [0, 1] * 3
    assert app.features.resolved == [2] * 3
