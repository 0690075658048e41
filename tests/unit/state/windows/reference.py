"""What windows must show, recomputed from all events each time: it shares no code with the package."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from streamserve import aggregates
from streamserve.aggregates import Aggregate
from streamserve.state.windows import WindowSpec


class Row(NamedTuple):
    key: bytes
    time: int
    value: float | None
    update: bool = True


Compute = Callable[[Sequence[Row]], Any]
Found = tuple[int, bytes, int, Any]
"""End, key, start and value of a closed window."""


def _numbers(rows: Sequence[Row]) -> list[Fraction]:
    return [Fraction(row.value) for row in rows if row.value is not None]


def _count(rows: Sequence[Row]) -> int:
    return len(rows)


def _sum(rows: Sequence[Row]) -> float | None:
    return float(sum(_numbers(rows))) if _numbers(rows) else None


def _mean(rows: Sequence[Row]) -> float | None:
    numbers = _numbers(rows)
    return float(sum(numbers) / len(numbers)) if numbers else None


def _var(rows: Sequence[Row]) -> float | None:
    numbers = _numbers(rows)
    if len(numbers) < 2:
        return None
    mean = sum(numbers) / len(numbers)
    return float(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def _min(rows: Sequence[Row]) -> float | None:
    return min((row.value for row in rows if row.value is not None), default=None)


def _max(rows: Sequence[Row]) -> float | None:
    return max((row.value for row in rows if row.value is not None), default=None)


def _last(rows: Sequence[Row]) -> float | None:
    present = [row for row in rows if row.value is not None]
    return max(enumerate(present), key=lambda each: (each[1].time, each[0]))[1].value if present else None


def _distinct(rows: Sequence[Row]) -> int:
    return len({row.value for row in rows if row.value is not None})


def _quantile(rows: Sequence[Row]) -> Any:
    numbers = sorted(row.value for row in rows if row.value is not None)
    return About(numbers[math.floor(0.7 * (len(numbers) - 1))]) if numbers else None


@dataclass(frozen=True, eq=False)
class About:
    """Equal to numbers within 1 %."""

    value: float

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        number = other.value if isinstance(other, About) else other
        return isinstance(number, float) and abs(number - self.value) <= 0.010001 * abs(self.value)


def _value(event: Any) -> Any:
    return event.value


def _span(state: tuple[int, int], _event: Row, time: int) -> tuple[int, int]:
    return min(state[0], time), max(state[1], time)


NEVER = 10**9

AGGREGATES: dict[str, tuple[Aggregate[Any], Compute]] = {
    "count": (aggregates.count(), _count),
    "sum": (aggregates.sum("value"), _sum),
    "mean": (aggregates.mean("value"), _mean),
    "var": (aggregates.var(_value), _var),
    "min": (aggregates.min("value"), _min),
    "max": (aggregates.max(_value), _max),
    "last": (aggregates.last("value"), _last),
    "distinct": (aggregates.distinct("value"), _distinct),
    "quantile": (aggregates.quantile("value", 0.7), _quantile),
    "custom": (
        aggregates.custom(
            "span",
            state=tuple[int, int],
            initial=lambda: (NEVER, -NEVER),
            add=_span,
            merge=lambda one, other: (min(one[0], other[0]), max(one[1], other[1])),
            result=lambda state: state[1] - state[0],
        ),
        lambda rows: max(row.time for row in rows) - min(row.time for row in rows) if rows else -2 * NEVER,
    ),
}


class Recomputation:
    """The windows as a list of everything that was counted."""

    def __init__(self, spec: WindowSpec, compute: Compute) -> None:
        self.spec = spec
        self.compute = compute
        self.counted: list[Row] = []
        self.late = 0
        self.watermark = -NEVER

    def run(self, row: Row) -> Any:
        if row.update and row.time < self.watermark - self.spec.grace_ms:
            self.late += 1
        elif row.update:
            self.counted.append(row)
        return self.compute(self._seen(row))

    def _seen(self, row: Row) -> list[Row]:
        rows = [other for other in self.counted if other.key == row.key]
        if self.spec.kind == "session":
            gap = self.spec.size_ms
            near = [each for each in _sessions(rows, gap) if each[0].time - gap < row.time < each[-1].time + gap]
            return near[0] if near else []
        if self.spec.kind == "sliding":
            return [other for other in rows if row.time - self.spec.size_ms < other.time <= row.time]
        pane, panes = row.time // self.spec.step_ms, self.spec.size_ms // self.spec.step_ms
        return [other for other in rows if pane - panes < other.time // self.spec.step_ms <= pane]

    def closed(self) -> list[Found]:
        """Return every window of the counted events that has ended by the watermark."""
        found = (each for key in {row.key for row in self.counted} for each in self._windows(key))
        return sorted(
            (each for each in found if each[0] + self.spec.grace_ms <= self.watermark), key=lambda each: each[:2]
        )

    def _windows(self, key: bytes) -> Iterator[Found]:
        rows = [row for row in self.counted if row.key == key]
        size, step = self.spec.size_ms, self.spec.step_ms
        if self.spec.kind == "session":
            for rows_of_one in _sessions(rows, size):
                yield rows_of_one[-1].time + size, key, rows_of_one[0].time, self.compute(rows_of_one)
        elif self.spec.kind != "sliding":
            starts = {row.time // step * step - back for row in rows for back in range(0, size, step)}
            for start in starts:
                content = [row for row in rows if start <= row.time < start + size]
                yield start + size, key, start, self.compute(content)


def _sessions(rows: Sequence[Row], gap: int) -> list[list[Row]]:
    sessions: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.time):
        if sessions and row.time < sessions[-1][-1].time + gap:
            sessions[-1].append(row)
        else:
            sessions.append([row])
    return sessions
