"""Compares what an app wrote in a storm with what it wrote undisturbed, from the same inputs.

Knows nothing of the app: its outputs and dead letters have to be the same records, and its tables the same values.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.findings import Findings

__all__ = ["Comparison", "Written", "compare"]

Written: TypeAlias = Mapping[str, Collection[ReadRecord]]
"""The records of each topic, in order."""

_Place: TypeAlias = tuple[int, bytes | None]
_Lanes: TypeAlias = dict[_Place, list[bytes]]

_SOURCE = ("source-topic", "source-partition", "source-offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared: ``outputs`` record by record, ``changelogs`` by the last value of each key.

    ``ordered`` asks for the same order of each key's outputs too; ``ignored`` are fields of JSON values that may
    differ.
    """

    outputs: Collection[str]
    dead_letters: str
    changelogs: Collection[str]
    ordered: bool
    ignored: frozenset[str] = frozenset()


def compare(calm: Written, storm: Written, what: Comparison, *, examples: int = 10) -> Findings:
    """Hold ``storm`` against ``calm`` and return the differences.

    A record that is missing is *lost*, one too many *duplicated* if the same is there already, else *phantom*; a key
    whose outputs are the same in another order counts once as *reordered*, and one whose table value differs as
    *stale*.

    >>> one, two = (ReadRecord("out", 0, at, b"ann", value, (), 0) for at, value in enumerate((b"1", b"2")))
    >>> what = Comparison(outputs=["out"], dead_letters="app-dead-letters", changelogs=[], ordered=True)
    >>> found = compare({"out": [one, two]}, {"out": [one, one._replace(offset=1)]}, what)
    >>> found.counts["lost"], found.counts["duplicated"], found.anomalies
    (1, 1, 2)
    """
    findings = Findings(examples)
    for topic in (*what.outputs, what.dead_letters):
        _compare_records(topic, calm.get(topic, ()), storm.get(topic, ()), what, findings)
    for topic in what.changelogs:
        _compare_tables(topic, calm.get(topic, ()), storm.get(topic, ()), findings)
    return findings


def _compare_records(
    topic: str, calm: Iterable[ReadRecord], storm: Iterable[ReadRecord], what: Comparison, findings: Findings
) -> None:
    expected, found = _lanes(calm, what), _lanes(storm, what)
    for place in expected.keys() | found.keys():
        values, others = expected.get(place, []), found.get(place, [])
        if values == others:
            continue
        due, there = Counter(values), Counter(others)
        at = f"{topic}[{place[0]}], a key with {len(values)} records undisturbed and {len(others)} in the storm"
        for value in due.keys() | there.keys():
            _count(due[value], there[value], at, findings)
        if due == there and what.ordered and topic != what.dead_letters:
            findings.add("reordered", at)


def _count(due: int, there: int, at: str, findings: Findings) -> None:
    if there < due:
        findings.add("lost", at, due - there)
    elif there > due:
        findings.add("duplicated" if due else "phantom", at, there - due)


def _lanes(records: Iterable[ReadRecord], what: Comparison) -> _Lanes:
    """Return what each key was given in each partition, in order."""
    lanes: _Lanes = {}
    for record in records:
        lanes.setdefault((record.partition, record.key), []).append(_content(record, what))
    return lanes


def _content(record: ReadRecord, what: Comparison) -> bytes:
    """Return what has to be the same: of a dead letter where it comes from, of an output its value."""
    if record.topic == what.dead_letters:
        return repr([value for name in _SOURCE for header, value in record.headers if header == name]).encode()
    value = record.value or b""
    if not what.ignored:
        return value
    try:
        fields = json.loads(value)
    except ValueError:
        return value
    return _without(cast("dict[str, object]", fields), what.ignored) if isinstance(fields, dict) else value


def _without(fields: Mapping[str, object], ignored: Collection[str]) -> bytes:
    return json.dumps({name: field for name, field in fields.items() if name not in ignored}).encode()


def _compare_tables(topic: str, calm: Iterable[ReadRecord], storm: Iterable[ReadRecord], findings: Findings) -> None:
    expected, found = ({(one.partition, one.key): one.value for one in records} for records in (calm, storm))
    for place in expected.keys() | found.keys():
        if expected.get(place) != found.get(place):
            findings.add("stale", f"{topic}[{place[0]}]: a key has another value than undisturbed")
