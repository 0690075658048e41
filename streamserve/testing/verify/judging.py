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
from typing import Any, Final

from streamserve.testing.delivery import DeliveryCheck
from streamserve.testing.reading import ReadRecord
from streamserve.testing.report import Expected, OutcomeRecord
from streamserve.testing.verify.findings import Findings
from streamserve.testing.verify.inputs import Input
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.panes import Due, Found, judge_once
from streamserve.testing.verify.truth import Owner, Pane, Truth

__all__ = ["History", "Judgement", "judge"]

_TABLE_VERSION: Final = 1
_TABLE_PAYLOAD: Final = 9
"""A table's changelog value: a version byte, eight bytes of time, and the value, as the state's format documents it."""

Offsets = Mapping[tuple[str, int], int]
Read = Callable[[str], Iterable[ReadRecord]]


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
    names, findings, truth = history.names, Findings(examples), Truth()
    expected = Expected(outputs={names.answers: 1, names.guesses: 1}, dead_letter_topic=names.dead_letters)
    check = DeliveryCheck(truth.note(history.read(names.inputs)), expected, examples=examples)
    answers = _Answers(truth, findings)
    check.read(answers.judged(history.read(names.answers)))
    check.read(map(_outcome, history.read(names.guesses)))
    check.read(_dead_letters(history.read(names.dead_letters), names.inputs, truth, findings))
    _judge_later(history, truth, findings)
    changelog = _folded(history.read(names.chains))
    after = history.after()
    findings.add_report(report := check.report(history.before, committed_after=after))
    _judge_table(changelog, truth, (history.before, after), names, findings)
    return Judgement(
        findings, report.inputs, report.committed, report.outcomes, report.dead_letters, len(answers.incarnations)
    )


class _Answers:
    """Holds each answer against the count and the chain that its input has."""

    def __init__(self, truth: Truth, findings: Findings) -> None:
        self.incarnations: set[str] = set()
        self._truth = truth
        self._findings = findings

    def judged(self, records: Iterable[ReadRecord]) -> Iterator[OutcomeRecord]:
        """Yield each answer as an outcome of its input."""
        for record in records:
            fields = json.loads(record.value or b"{}")
            self.incarnations.add(fields["incarnation"])
            expected = self._truth.answer(fields["partition"], fields["offset"])
            found = fields["id"], fields["count"], fields["chain"]
            if expected is not None and found != expected:
                self._findings.add("stale", f"{_at(record)}: {_difference(found, expected)}")
            yield _outcome(record, fields)


def _difference(found: tuple[int, int, int], expected: tuple[int, int, int]) -> str:
    """Say what an answer should have been."""
    if found[0] != expected[0]:
        return f"answers id {found[0]}, but its input has {expected[0]}"
    if found[1] != expected[1]:
        return f"the table's count was {found[1]}, not {expected[1]}"
    return f"the table's count was {found[1]}, but of other inputs, or in another order"


def _outcome(record: ReadRecord, fields: Mapping[str, Any] | None = None) -> OutcomeRecord:
    told = json.loads(record.value or b"{}") if fields is None else fields
    source = f"in.{record.topic.partition('.')[2]}", int(told["partition"]), int(told["offset"])
    return OutcomeRecord(record.topic, record.partition, record.offset, source)


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
        yield OutcomeRecord(record.topic, record.partition, record.offset, (topic, partition, offset))


def _judge_later(history: History, truth: Truth, findings: Findings) -> None:
    """Judge what comes when time has passed: windows, regrouped windows, statistics and labels."""
    names, over = history.names, history.over
    windows = Due("window", truth.windows, lambda pane: over and _has_closed(truth, pane))
    judge_once(map(_pane, history.read(names.windows)), windows, findings)
    groups = Due("regrouped window", truth.groups, lambda pane: over and _has_closed(truth, pane))
    judge_once(map(_pane, history.read(names.groups)), groups, findings)
    scored = Due("statistics", truth.scored, lambda pane: over and truth.has_closed(pane[1], pane[0]))
    judge_once(_statistics(history.read(names.drift)), scored, findings)
    said = {number: ("matched", Input("", 0, number).truth) for number in truth.labelled}
    judge_once(_matches(history.read(names.performance)), Due("label", said, lambda _: over), findings)


def _has_closed(truth: Truth, pane: Pane) -> bool:
    return truth.has_closed(pane[1])


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


def _folded(records: Iterable[ReadRecord]) -> dict[Owner, bytes]:
    """Return the last value of each key that is not deleted."""
    last: dict[Owner, bytes] = {}
    for record in records:
        owner = record.partition, (record.key or b"").decode()
        if record.value is None:
            last.pop(owner, None)
        else:
            last[owner] = record.value
    return last


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
