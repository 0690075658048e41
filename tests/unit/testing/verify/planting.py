"""A history of the built-in app as it must be, made by hand, to plant anomalies in."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.inputs import WINDOW_MS, Input, closing_inputs, extend, make_inputs, to_window
from streamserve.testing.verify.judging import History, Judge, Judgement, judge
from streamserve.testing.verify.names import Names

PARTITIONS = 2
NAMES = Names("planted")


@dataclass
class Planted:
    """Records by topic and committed offsets, as the app leaves them; tests change them."""

    topics: dict[str, list[ReadRecord]] = field(default_factory=lambda: defaultdict(list))
    before: dict[tuple[str, int], int] = field(default_factory=dict)
    after: dict[tuple[str, int], int] | None = None

    def put(self, topic: str, partition: int, key: str, value: bytes | None, *headers: tuple[str, bytes]) -> ReadRecord:
        offset = sum(record.partition == partition for record in self.topics[topic])
        record = ReadRecord(topic, partition, offset, key.encode(), value, headers, 0)
        self.topics[topic].append(record)
        return record

    def judge(self, *, over: bool = True) -> Judgement:
        def read(topic: str) -> Sequence[ReadRecord]:
            return self.topics[topic]

        return judge(History(NAMES, self.before, read, lambda: self.after or self.before, over))

    def judge_in_two(self, inputs: int) -> Sequence[Judgement]:
        """Judge after the first ``inputs`` with their outcomes, while the app runs, and again after everything."""
        judge, first = Judge(NAMES), self.topics[NAMES.inputs][:inputs]
        ends = {(NAMES.inputs, record.partition): record.offset + 1 for record in first}
        early = {NAMES.inputs: inputs}
        for topic in (NAMES.answers, NAMES.guesses, NAMES.dead_letters):
            places = [_place_of(record) for record in self.topics[topic]]
            early[topic] = sum(offset < ends.get((NAMES.inputs, partition), 0) for partition, offset in places)
        beside = History(
            NAMES, ends, lambda topic: self.topics[topic][: early.get(topic, 0)], lambda: self.before, over=False
        )
        over = History(
            NAMES, self.before, lambda topic: self.topics[topic][early.get(topic, 0) :], lambda: self.before, over=True
        )
        return judge.read(beside), judge.read(over)

    def change(self, topic: str, place: int, **fields: object) -> None:
        """Change fields of the JSON value of the record at ``place``."""
        record = self.topics[topic][place]
        value = json.dumps({**json.loads(record.value or b"{}"), **fields}).encode()
        self.topics[topic][place] = record._replace(value=value)


def kept_contract() -> Planted:
    """Return what is left when nothing went wrong."""
    kept = _kept_contract()
    return Planted(defaultdict(list, {topic: [*records] for topic, records in kept.topics.items()}), {**kept.before})


@cache
def _kept_contract(count: int = 3000) -> Planted:
    planted, chains = Planted(), dict[tuple[int, str], tuple[int, int]]()
    windows, groups, scored = Counter[tuple[str, int]](), Counter[tuple[str, int]](), Counter[tuple[int, int]]()
    fed = [(event, int(event.key[4:]) % PARTITIONS) for event in make_inputs(count, 7)]
    fed += [(event, partition) for partition, event in enumerate(closing_inputs(count, PARTITIONS))]
    for event, partition in fed:
        record = planted.put(NAMES.inputs, partition, event.key, event.encode())
        planted.before[NAMES.inputs, partition] = record.offset + 1
        start = to_window(event.at_ms)
        if not event.is_broken:
            windows[event.key, start] += 1
            groups[event.group, start] += 1
        if event.is_broken or event.is_refused:
            place = (("partition", partition), ("offset", record.offset))
            headers = [("source-topic", NAMES.inputs.encode()), *((f"source-{n}", b"%d" % v) for n, v in place)]
            planted.put(NAMES.dead_letters, 0, event.key, record.value, *headers)
            continue
        scored[partition, start] += 1
        answer(planted, event, record, chains)
    late = max(start for _, start in windows)
    for topic, counts in ((NAMES.windows, windows), (NAMES.groups, groups)):
        for (key, start), value in counts.items():
            if start < late - WINDOW_MS:
                planted.put(topic, 0, key, json.dumps({"key": key, "start": text(start), "value": value}).encode())
    for (partition, start), rows in scored.items():
        if start < late - WINDOW_MS:
            told = {"kind": "statistics", "column": "x", "slice": None, "partition": partition, "count": rows}
            planted.put(NAMES.drift, 0, "", json.dumps({**told, "window_start": text(start)}).encode())
    for (partition, key), (length, chain) in chains.items():
        planted.put(NAMES.chains, partition, key, table_value(length, chain))
    return planted


def answer(planted: Planted, event: Input, record: ReadRecord, chains: dict[tuple[int, str], tuple[int, int]]) -> None:
    """Write what a good input leads to."""
    place = {"partition": record.partition, "offset": record.offset}
    length, chain = chains.get((record.partition, event.key), (0, 0))
    chains[record.partition, event.key] = length, chain = length + 1, extend(chain, event.id)
    fields = {"key": event.key, "sequence": event.sequence, "id": event.id, "count": length, "chain": chain}
    told = {**fields, **place, "incarnation": "a"}
    planted.put(NAMES.answers, record.partition, event.key, json.dumps(told).encode())
    planted.put(NAMES.guesses, event.id % PARTITIONS, "", json.dumps({"id": event.id, "value": 0, **place}).encode())
    if event.is_labelled:
        match = {"kind": "match", "key": str(event.id), "status": "matched", "truth": event.truth}
        planted.put(NAMES.performance, 0, "", json.dumps(match).encode())


def _place_of(record: ReadRecord) -> tuple[int, int]:
    """Return partition and offset of the input that an outcome names."""
    if record.headers:
        told = {name: value for name, value in record.headers if isinstance(value, bytes)}
        return int(told["source-partition"]), int(told["source-offset"])
    fields = json.loads(record.value or b"{}")
    return fields["partition"], fields["offset"]


def table_value(count: int, chain: int) -> bytes:
    return b"\x01" + bytes(8) + json.dumps({"count": count, "chain": chain}).encode()


def text(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
