"""Results that come once and later than their inputs: windows, matched labels, statistics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.findings import Findings

__all__ = ["Found", "Once"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Found(Generic[K]):
    """A result as it was read: what it is of, what it says and where it stands."""

    of: K
    says: object
    record: ReadRecord


class Once(Generic[K]):
    """Holds results against what they must say; each comes once.

    ``expected`` says what of each, and may grow; ``name`` says in words what these are.
    """

    def __init__(self, name: str, expected: Mapping[K, object]) -> None:
        self._name = name
        self._expected = expected
        self._seen: set[K] = set()

    def judge(self, found: Iterable[Found[K]], findings: Findings) -> None:
        """Find results that come again, of nothing, or wrong."""
        seen, expected, name = self._seen, self._expected, self._name
        for result in found:
            says = expected.get(result.of)
            if says == result.says and result.of not in seen:
                seen.add(result.of)
                continue
            at = f"{result.record.topic}[{result.record.partition}]@{result.record.offset}"
            if result.of in seen:
                findings.add("duplicated", f"{at}: {name} again")
            elif result.of not in expected:
                findings.add("phantom", f"{at}: {name} of no input")
            else:
                findings.add("stale", f"{at}: {name} says {result.says}, its inputs say {says}")
            seen.add(result.of)

    def miss(self, must: Callable[[K], bool], findings: Findings) -> None:
        """Find what has not come that ``must`` be there by now."""
        for key in self._expected:
            if key not in self._seen and must(key):
                findings.add("lost", f"{self._name} {key} never came")
