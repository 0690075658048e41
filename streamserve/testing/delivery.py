"""The judgement of a history against the delivery contract.

A pure function over plain data, written apart from the engine that it judges; ``report`` names the anomalies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from typing import Final

from streamserve.errors import ConfigurationError
from streamserve.testing.report import INJURIES, Expected, Injury, InputRecord, OutcomeRecord, Report

_SPAN: Final = 1 << 60
"""More than any offset; packs a partition's number and an offset into one integer."""


def check_delivery(
    inputs: Iterable[InputRecord],
    outcomes: Iterable[OutcomeRecord],
    committed: Mapping[tuple[str, int], int],
    *,
    expected: Expected | None = None,
    examples: int = 10,
) -> Report:
    """Hold ``outcomes`` against ``inputs`` up to the ``committed`` offsets.

    ``inputs`` may come in any order, ``outcomes`` of one output partition must come in offset order; both are read
    once and not kept: an input takes 8 bytes, 4 more for each topic, and a dictionary entry if it has a uid. A
    partition missing in ``committed`` has nothing committed. Without ``expected``, each input has exactly one
    outcome, whatever its topic.

    Raises ``ConfigurationError`` if two inputs have one uid, or an outcome stands on a topic that nothing expects.

    >>> history = [InputRecord("flights", 0, offset) for offset in range(3)]
    >>> delays = [OutcomeRecord("delays", 0, n, ("flights", 0, n)) for n in (0, 2)]
    >>> print(check_delivery(history, delays, {("flights", 0): 3}))
    3 inputs, 3 committed, 2 outcomes (0 dead letters): 1 anomalies
      lost               1
        flights[0]@1: no outcome
      duplicated         0
      reordered          0
      torn               0
      premature          0
      phantom            0
    """
    check = DeliveryCheck(inputs, expected, examples=examples)
    check.read(outcomes)
    return check.report(committed)


class DeliveryCheck:
    """The same check in steps, for readers that learn the committed offsets around the outcomes.

    It may go on: after a report, ``enter`` takes inputs that stand behind those before, and ``read`` their outcomes.
    """

    def __init__(self, inputs: Iterable[InputRecord], expected: Expected | None = None, *, examples: int = 10) -> None:
        self._columns = _Columns(expected)
        self._findings = _Findings(examples)
        self._ledgers = _Ledgers(len(self._columns.names))
        self._ledgers.enter(inputs)
        self._latest: dict[tuple[str, int, int, str | bytes | None], int] = {}
        self._outcomes: Counter[str] = Counter()

    def enter(self, inputs: Iterable[InputRecord]) -> None:
        """Take in further inputs.

        Raises ``ConfigurationError`` where one stands before those of its partition that were entered by other calls,
        or has the uid of another.
        """
        self._ledgers.enter(inputs)

    def read(self, outcomes: Iterable[OutcomeRecord]) -> None:
        """Count each outcome at its input, and find those without cause or out of order."""
        for outcome in outcomes:
            self._outcomes[outcome.topic] += 1
            column = self._columns.of(outcome.topic)
            found = self._ledgers.find(outcome)
            if found is None:
                self._findings.add("phantom", f"{_at(outcome)}: {_named_source(outcome)}")
                continue
            ledger, position = found
            counts = ledger.counts[column]
            counts[position] += 1
            if counts[position] <= max(1, self._columns.wanted[column]):
                self._keep_order(outcome, ledger, ledger.offsets[position])  # a surplus is a duplicate, not disorder

    def _keep_order(self, outcome: OutcomeRecord, ledger: _Ledger, offset: int) -> None:
        lane = (outcome.topic, outcome.partition, ledger.number, outcome.step)
        last = self._latest.get(lane, -1)
        if offset < last:
            self._findings.add("reordered", f"{_at(outcome)}: of {ledger.at(offset)}, after that of offset {last}")
        else:
            self._latest[lane] = offset

    def report(
        self,
        committed: Mapping[tuple[str, int], int],
        *,
        committed_after: Mapping[tuple[str, int], int] | None = None,
    ) -> Report:
        """Judge everything that was read.

        For an app that is still running, ``committed`` are the offsets before the outcomes' ends were found, and
        ``committed_after`` those after the outcomes were read: inputs between the two are not judged.
        """
        after = committed if committed_after is None else committed_after
        due, findings = 0, self._findings.copy()
        for ledger in self._ledgers.all:
            at = (ledger.topic, ledger.partition)
            due += ledger.inputs_below(committed.get(at, 0))
            _judge_due(ledger, committed.get(at, 0), self._columns, findings)
            _judge_rest(ledger, max(committed.get(at, 0), after.get(at, 0)), self._columns, findings)
        return Report(
            inputs=sum(len(ledger.offsets) for ledger in self._ledgers.all),
            committed=due,
            outcomes=self._outcomes.total(),
            dead_letters=self._outcomes[self._columns.names[0]],
            examples={injury: tuple(texts) for injury, texts in findings.examples.items()},
            **findings.counts,
        )


class _Columns:
    """Which counter of an input an outcome falls into: 0 for dead letters, then one for each output topic."""

    def __init__(self, expected: Expected | None) -> None:
        self.names: tuple[str, ...] = ("dead letters", "outcomes")
        self.wanted: tuple[int, ...] = (0, 1)
        self._by_topic: dict[str, int] | None = None
        self._filtering = False
        if expected is not None:
            self.names = (expected.dead_letter_topic or "dead letters", *expected.outputs)
            self.wanted = (0, *expected.outputs.values())
            self._by_topic = {topic: column for column, topic in enumerate(self.names) if column}
            if expected.dead_letter_topic is not None:
                self._by_topic[expected.dead_letter_topic] = 0
            self._filtering = expected.filtering or not any(self.wanted)

    def of(self, topic: str) -> int:
        """Return the column of ``topic``."""
        if self._by_topic is None:
            return 1
        try:
            return self._by_topic[topic]
        except KeyError:
            raise ConfigurationError(
                f"an outcome stands on topic {topic}, which nothing expects; name it in Expected.outputs"
            ) from None

    def verdict(self, found: tuple[int, ...]) -> tuple[Injury, int] | None:
        """Return what is wrong with an input whose columns count ``found``, and how often."""
        dead, outputs = found[0], found[1:]
        surplus = sum(found) - sum(self.wanted)
        if not any(outputs):
            surplus = dead - 1
            if dead == 0:
                return None if self._filtering else ("lost", 1)
        elif any(count < wanted for count, wanted in zip(found, self.wanted, strict=True)):
            return "torn", 1
        return ("duplicated", surplus) if surplus else None

    def describe(self, found: tuple[int, ...]) -> str:
        """Return the counts in words."""
        parts = [f"{count} on {name}" for name, count in zip(self.names, found, strict=True) if count]
        return ", ".join(parts) or "no outcome"


class _Findings:
    """Anomalies counted, the first few kept in words."""

    def __init__(self, limit: int) -> None:
        self.counts: dict[Injury, int] = dict.fromkeys(INJURIES, 0)
        self.examples: dict[Injury, list[str]] = {}
        self._limit = limit

    def copy(self) -> _Findings:
        """Return one to which others can be added."""
        other = _Findings(self._limit)
        other.counts |= self.counts
        other.examples |= {injury: [*texts] for injury, texts in self.examples.items()}
        return other

    def room(self, injury: Injury) -> int:
        """Return how many more examples of ``injury`` are kept."""
        return self._limit - len(self.examples.get(injury, ()))

    def count(self, injury: Injury, times: int) -> None:
        """Count ``times`` anomalies."""
        self.counts[injury] += times

    def show(self, injury: Injury, text: str) -> None:
        """Keep ``text`` as an example if there is room."""
        if self.room(injury) > 0:
            self.examples.setdefault(injury, []).append(text)

    def add(self, injury: Injury, text: str) -> None:
        """Count one anomaly that ``text`` describes."""
        self.count(injury, 1)
        self.show(injury, text)


class _Ledger:
    """One input partition: its offsets in order, and for each of them the outcomes counted by column."""

    __slots__ = ("counts", "entered", "number", "offsets", "partition", "topic")

    def __init__(self, number: int, topic: str, partition: int, columns: int) -> None:
        self.number = number
        self.topic = topic
        self.partition = partition
        self.entered = array("q")
        self.offsets = array("q")
        self.counts = [array("I") for _ in range(columns)]

    def close(self) -> None:
        """Prepare for outcomes of what has been ``entered``."""
        more = array("q", sorted(set(self.entered)))
        if more and self.offsets and more[0] <= self.offsets[-1]:
            raise ConfigurationError(
                f"{self.at(more[0])} was entered after {self.at(self.offsets[-1])}; enter what comes later later"
            )
        self.entered = array("q")
        self.offsets += more
        for counts in self.counts:
            counts.extend([0] * len(more))

    def position(self, offset: int) -> int | None:
        """Return the place of the input at ``offset``, ``None`` if there is none."""
        offsets = self.offsets
        guess = offset - offsets[0]  # right unless transaction markers or compaction left holes
        if 0 <= guess < len(offsets) and offsets[guess] == offset:
            return guess
        place = self.inputs_below(offset)
        return place if place < len(offsets) and offsets[place] == offset else None

    def inputs_below(self, offset: int) -> int:
        """Return how many inputs stand before ``offset``."""
        return bisect_left(self.offsets, offset)

    def at(self, offset: int) -> str:
        """Return the coordinates of the input at ``offset`` in words."""
        return f"{self.topic}[{self.partition}]@{offset}"


class _Ledgers:
    """The ledgers of all input partitions, found by coordinates or uid."""

    def __init__(self, columns: int) -> None:
        self.all: list[_Ledger] = []
        self._columns = columns
        self._by_partition: dict[tuple[str, int], _Ledger] = {}
        self._by_uid: dict[Hashable, int] = {}

    def enter(self, inputs: Iterable[InputRecord]) -> None:
        """Take in inputs, those of one call in any order."""
        for topic, partition, offset, uid in inputs:
            ledger = self._by_partition.get((topic, partition)) or self._open(topic, partition)
            ledger.entered.append(offset)
            if uid is not None:
                self._remember(uid, ledger, offset)
        for ledger in self.all:
            ledger.close()

    def _open(self, topic: str, partition: int) -> _Ledger:
        ledger = _Ledger(len(self.all), topic, partition, self._columns)
        self.all.append(ledger)
        self._by_partition[topic, partition] = ledger
        return ledger

    def _remember(self, uid: Hashable, ledger: _Ledger, offset: int) -> None:
        code = ledger.number * _SPAN + offset
        known = self._by_uid.setdefault(uid, code)
        if known != code:
            number, first = divmod(known, _SPAN)
            raise ConfigurationError(
                f"{self.all[number].at(first)} and {ledger.at(offset)} have one uid; "
                "choose a uid that tells every input apart"
            )

    def find(self, outcome: OutcomeRecord) -> tuple[_Ledger, int] | None:
        """Return the ledger and the place in it of the input that ``outcome`` names."""
        if outcome.source is not None:
            topic, partition, offset = outcome.source
            ledger = self._by_partition.get((topic, partition))
        else:
            number, offset = divmod(self._by_uid.get(outcome.uid, -1), _SPAN)
            ledger = self.all[number] if number >= 0 else None
        position = None if ledger is None else ledger.position(offset)
        return None if ledger is None or position is None else (ledger, position)


def _judge_due(ledger: _Ledger, committed: int, columns: _Columns, findings: _Findings) -> None:
    """Find what is lost, torn and duplicated among the inputs below ``committed``.

    Histories have few distinct patterns of counts, so that each pattern is judged once.
    """
    due = [counts[: ledger.inputs_below(committed)] for counts in ledger.counts]
    for pattern, inputs in Counter(zip(*due, strict=True)).items():
        verdict = columns.verdict(pattern)
        if verdict is None:
            continue
        injury, times = verdict
        findings.count(injury, times * inputs)
        places = (place for place, found in enumerate(zip(*due, strict=True)) if found == pattern)
        for place in islice(places, findings.room(injury)):
            findings.show(injury, f"{ledger.at(ledger.offsets[place])}: {columns.describe(pattern)}")


def _judge_rest(ledger: _Ledger, committed: int, columns: _Columns, findings: _Findings) -> None:
    """Find the outcomes of inputs from ``committed`` on."""
    first = ledger.inputs_below(committed)
    rest = [counts[first:] for counts in ledger.counts]
    findings.count("premature", sum(map(sum, rest)))
    places = (place for place, found in enumerate(zip(*rest, strict=True), first) if any(found))
    for place in islice(places, findings.room("premature")):
        found = columns.describe(tuple(counts[place] for counts in ledger.counts))
        findings.show("premature", f"{ledger.at(ledger.offsets[place])}: {found}, but {committed} is committed")


def _at(outcome: OutcomeRecord) -> str:
    return f"{outcome.topic}[{outcome.partition}]@{outcome.offset}"


def _named_source(outcome: OutcomeRecord) -> str:
    """Say what an outcome without an input gives as its source, without its uid, which may be personal."""
    if outcome.source is not None:
        topic, partition, offset = outcome.source
        return f"names {topic}[{partition}]@{offset}, where no input is"
    return "names no input" if outcome.uid is None else "names a uid that no input has"
