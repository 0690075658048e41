"""Results that come once and later than their inputs: windows, matched labels, statistics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.findings import Findings

__all__ = ["Due", "Found", "judge_once"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Found(Generic[K]):
    """A result as it was read: what it is of, what it says and where it stands."""

    of: K
    says: object
    record: ReadRecord


@dataclass(frozen=True, slots=True)
class Due(Generic[K]):
    """What must be found: ``expected`` says what of each, ``must`` whether it must have come by now.

    ``name`` says in words what these are.
    """

    name: str
    expected: Mapping[K, object]
    must: Callable[[K], bool]


def judge_once(found: Iterable[Found[K]], due: Due[K], findings: Findings) -> None:
    """Hold every result against what it must say; each comes once."""
    seen: set[K] = set()
    for result in found:
        at = f"{result.record.topic}[{result.record.partition}]@{result.record.offset}"
        if result.of in seen:
            findings.add("duplicated", f"{at}: {due.name} again")
        elif result.of not in due.expected:
            findings.add("phantom", f"{at}: {due.name} of no input")
        elif result.says != due.expected[result.of]:
            findings.add("stale", f"{at}: {due.name} says {result.says}, its inputs say {due.expected[result.of]}")
        seen.add(result.of)
    for key in due.expected:
        if key not in seen and due.must(key):
            findings.add("lost", f"{due.name} {key} never came")
