"""The judgement of everything that the built-in app has written, after its run or beside it.

A pure function over records and offsets: nothing here knows the engine. The order in which a ``History`` is read is
what makes a judgement beside a running app sound:

1. the stable committed offsets ``before``;
2. the ends of all topics: what ``before`` covers is visible below them, once every last stable offset has passed them;
3. the inputs, so that the cause of whatever is visible is among them; then the app's topics, below their ends;
4. the stable committed offsets ``after``: whatever was visible is below them.

Hence outcomes of inputs below ``before`` must be there, those from ``after`` on must not, and the table's changelog
lies between the two. The recomputation per record follows Kafka Streams' ``EosTestDriver``; judging only what all
readers can see follows Jepsen's Kafka workload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from streamserve.testing.delivery import DeliveryCheck
from streamserve.testing.reading import ReadRecord
from streamserve.testing.report import Expected, OutcomeRecord
from streamserve.testing.verify.findings import Findings
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.panes import Found, Once
from streamserve.testing.verify.truth import Owner, Pane, Truth

__all__ = ["History", "Judge", "Judgement", "judge"]

_TABLE_VERSION: Final = 1
_TABLE_PAYLOAD: Final = 9
"""A table's changelog value: a version byte, eight bytes of time, and the value, as the state's format documents it."""

Offsets = Mapping[tuple[str, int], int]
Read = Callable[[str], Iterable[ReadRecord]]


class _Place(msgspec.Struct):
    """Which input a side output is of."""

    partition: int
    offset: int


class _Answer(_Place):
    """What an answer says of its input, and of the table then."""

    id: int
    count: int
    chain: int
    incarnation: str


_PLACE, _ANSWER = msgspec.json.Decoder(_Place), msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class History:
    """What is judged: ``read`` gives a topic's records in order, and is asked for one topic after the other.

    ``before`` are the offsets committed before, ``after`` is asked for those at the end. ``over`` says that the app has
    processed everything: then what is due later than its inputs must be there too.
    """

    names: Names
    before: Offsets
    read: Read
    after: Callable[[], Offsets]
    over: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was read and found; ``incarnations`` counts the processes that wrote answers."""

    findings: Findings
    inputs: int
    committed: int
    outcomes: int
    dead_letters: int
    incarnations: int


def judge(history: History, *, examples: int = 10) -> Judgement:
    """Read the whole ``history`` once and say what is wrong with it."""
    return Judge(history.names, examples=examples).read(history)


class Judge:
    """Judges on and on: each history that it reads begins where the last one ended.

    A judgement is of everything so far. What is kept of an input and its outcomes takes some 200 bytes.
    """

    def __init__(self, names: Names, *, examples: int = 10) -> None:
        self._names = names
        self._found = Findings(examples)
        self._truth = truth = Truth()
        expected = Expected(outputs={names.answers: 1, names.guesses: 1}, dead_letter_topic=names.dead_letters)
        self._check = DeliveryCheck((), expected, examples=examples)
        self._answers = _Answers(truth, names.inputs, self._found)
        self._table: dict[Owner, bytes] = {}
        self._windows = Once("window", truth.windows)
        self._groups = Once("regrouped window", truth.groups)
        self._statistics = Once("statistics", truth.scored)
        self._labels = Once("label", truth.labelled)

    def read(self, history: History) -> Judgement:
        """Read ``history`` once and say what is wrong with all that was read."""
        names, read = self._names, history.read
        self._check.enter(self._truth.note(read(names.inputs)))
        self._check.read(self._answers.judged(read(names.answers)))
        self._check.read(_outcomes(read(names.guesses), names.inputs))
        self._check.read(_dead_letters(read(names.dead_letters), names.inputs, self._truth, self._found))
        self._judge_later(history)
        _fold(read(names.chains), self._table)
        return self._judged(history.before, history.after(), over=history.over)

    def _judge_later(self, history: History) -> None:
        """Judge what comes when time has passed: windows, regrouped windows, statistics and labels."""
        names, read, found = self._names, history.read, self._found
        self._windows.judge(map(_pane, read(names.windows)), found)
        self._groups.judge(map(_pane, read(names.groups)), found)
        self._statistics.judge(_statistics(read(names.drift)), found)
        self._labels.judge(_matches(read(names.performance)), found)

    def _judged(self, before: Offsets, after: Offsets, *, over: bool) -> Judgement:
        findings, truth = self._found.copy(), self._truth
        if over:
            for panes in (self._windows, self._groups):
                panes.miss(lambda pane: truth.has_closed(pane[1]), findings)
            self._statistics.miss(lambda place: truth.has_closed(place[1], place[0]), findings)
            self._labels.miss(lambda _: True, findings)
        findings.add_report(report := self._check.report(before, committed_after=after))
        _judge_table(self._table, truth, (before, after), self._names, findings)
        read = (report.inputs, report.committed, report.outcomes, report.dead_letters)
        return Judgement(findings, *read, len(self._answers.incarnations))


class _Answers:
    """Holds each answer against the count and the chain that its input has."""

    def __init__(self, truth: Truth, inputs: str, findings: Findings) -> None:
        self.incarnations: set[str] = set()
        self._inputs = inputs
        self._truth = truth
        self._findings = findings

    def judged(self, records: Iterable[ReadRecord]) -> Iterator[OutcomeRecord]:
        """Yield each answer as an outcome of its input."""
        for record in records:
            told = _ANSWER.decode(record.value or b"")
            self.incarnations.add(told.incarnation)
            expected = self._truth.answer(told.partition, told.offset)
            found = told.id, told.count, told.chain
            if expected is not None and found != expected:
                self._findings.add("stale", f"{_at(record)}: {_difference(found, expected)}")
            yield OutcomeRecord(
                record.topic, record.partition, record.offset, (self._inputs, told.partition, told.offset)
            )


def _difference(found: tuple[int, int, int], expected: tuple[int, int, int]) -> str:
    """Say what an answer should have been."""
    if found[0] != expected[0]:
        return f"answers id {found[0]}, but its input has {expected[0]}"
    if found[1] != expected[1]:
        return f"the table's count was {found[1]}, not {expected[1]}"
    return f"the table's count was {found[1]}, but of other inputs, or in another order"


def _outcomes(records: Iterable[ReadRecord], topic: str) -> Iterator[OutcomeRecord]:
    """Yield side outputs as outcomes of the records of ``topic`` that they name."""
    for record in records:
        told = _PLACE.decode(record.value or b"")
        yield OutcomeRecord(record.topic, record.partition, record.offset, (topic, told.partition, told.offset))


def _dead_letters(
    records: Iterable[ReadRecord], topic: str, truth: Truth, findings: Findings
) -> Iterator[OutcomeRecord]:
    """Yield dead letters as outcomes, and find those of inputs that nothing is wrong with."""
    for record in records:
        told = dict(reversed(record.headers))
        partition, offset = (int(told[f"source-{name}"] or b"-1") for name in ("partition", "offset"))
        if _text(told["source-topic"]) != topic:
            findings.add("phantom", f"{_at(record)}: dead letter of a topic that has only good records")
            continue
        if (expected := truth.answer(partition, offset)) is not None and expected[1]:
            findings.add("lost", f"{_at(record)}: nothing is wrong with {topic}[{partition}]@{offset}")
        source = topic, partition, offset
        yield OutcomeRecord(record.topic, record.partition, record.offset, source, step=told.get("step"))


def _pane(record: ReadRecord) -> Found[Pane]:
    fields = json.loads(record.value or b"{}")
    return Found((fields["key"], _milliseconds(fields["start"])), fields["value"], record)


def _statistics(records: Iterable[ReadRecord]) -> Iterator[Found[tuple[int, int]]]:
    for record in records:
        told = json.loads(record.value or b"{}")
        if told["kind"] == "statistics" and told["column"] == "x" and told["slice"] is None:
            yield Found((told["partition"], _milliseconds(told["window_start"])), told["count"], record)


def _matches(records: Iterable[ReadRecord]) -> Iterator[Found[int]]:
    for record in records:
        told = json.loads(record.value or b"{}")
        if told["kind"] == "match":
            yield Found(int(told["key"]), (told["status"], told["truth"]), record)


def _fold(records: Iterable[ReadRecord], last: dict[Owner, bytes]) -> None:
    """Keep in ``last`` the value of each key that is not deleted."""
    for record in records:
        owner = record.partition, (record.key or b"").decode()
        if record.value is None:
            last.pop(owner, None)
        else:
            last[owner] = record.value


def _judge_table(
    changelog: Mapping[Owner, bytes], truth: Truth, offsets: tuple[Offsets, Offsets], names: Names, findings: Findings
) -> None:
    """Hold the table's changelog against the inputs below the offsets that were committed with it."""
    first, last = (truth.counts_at(_of_topic(names.inputs, committed)) for committed in offsets)
    for owner in first.keys() | changelog.keys():
        count, chain = _decoded(changelog[owner]) if owner in changelog else (0, 0)
        if not first.get(owner, 0) <= count <= last.get(owner, 0):
            due = f"{first.get(owner, 0)} to {last.get(owner, 0)}"
            findings.add("torn", f"{names.chains}[{owner[0]}] {owner[1]}: count {count}, by the offsets {due}")
        elif count and chain != truth.chain(owner, count):
            findings.add("stale", f"{names.chains}[{owner[0]}] {owner[1]}: count {count}, but of other inputs")


def _of_topic(topic: str, offsets: Offsets) -> dict[int, int]:
    return {partition: offset for (name, partition), offset in offsets.items() if name == topic}


def _decoded(value: bytes) -> tuple[int, int]:
    if value[0] != _TABLE_VERSION:
        raise ValueError(f"the table's changelog has format version {value[0]}, but this checker reads 1")
    fields = json.loads(value[_TABLE_PAYLOAD:])
    return fields["count"], fields["chain"]


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _at(record: ReadRecord) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
