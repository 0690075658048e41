"""What apps with state must have come to, computed from their inputs alone, and what they came to, read from Kafka.

Nothing here is shared with the engine: changelogs are taken apart as ``streamserve.state.format`` documents them.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import msgspec

from streamserve.testing.reading import ReadRecord, read_topic
from tests.integration.apps.state import GAP_S, WINDOW_S, Chain, Counted, Owed, Spent, Total, chained

CLOSING_UID = -1
"""Events that only move time on; they are still held back when all others are done, so they count nowhere."""

CLOSING_USER = "closing"

DAY_MS = 24 * 3600 * 1000
SHOWN = 5

Changelog: TypeAlias = Mapping[tuple[int, bytes], bytes]
"""The last value of each partition and key that is not deleted."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Row:
    """An input as it stands in the log."""

    partition: int
    offset: int
    event: Spent

    @property
    def time_ms(self) -> int:
        return round(self.event.at.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What reads back an app's topics."""

    brokers: str
    app: str

    def inputs(self) -> list[Row]:
        rows = [
            Row(record.partition, record.offset, msgspec.json.decode(record.value or b"", type=Spent))
            for record in read_topic(self.brokers, f"in.{self.app}")
        ]
        return [row for row in rows if row.event.uid != CLOSING_UID]

    def counted(self) -> list[tuple[int, Counted]]:
        return [
            (record.partition, msgspec.json.decode(record.value or b"", type=Counted))
            for record in read_topic(self.brokers, f"out.{self.app}")
        ]

    def tellings(self) -> list[Owed]:
        records = read_topic(self.brokers, f"owed.{self.app}")
        return [msgspec.json.decode(record.value or b"", type=Owed) for record in records]

    def totals(self, topic: str) -> list[Total]:
        records = read_topic(self.brokers, f"{topic}.{self.app}")
        return [msgspec.json.decode(record.value or b"", type=Total) for record in records]

    def changelog(self, name: str) -> Changelog:
        return folded(read_topic(self.brokers, f"{self.app}-{name}-changelog"))

    def dead_letters(self) -> int:
        return len(read_topic(self.brokers, f"{self.app}-dead-letters"))


def folded(records: Iterable[ReadRecord]) -> Changelog:
    last = {(record.partition, record.key or b""): record.value for record in records}
    return {place: value for place, value in last.items() if value is not None}


def in_log_order(row: Row) -> Any:
    return row.partition, row.offset


def in_time_order(row: Row) -> Any:
    return row.partition, row.time_ms, row.offset


def chain_of_each(rows: Iterable[Row], order: Callable[[Row], Any]) -> dict[tuple[int, str], list[Counted]]:
    """Return what each user's events must have written, in order, by partition and user."""
    chains: dict[tuple[int, str], list[Counted]] = defaultdict(list)
    for row in sorted(rows, key=order):
        uid, user = row.event.uid, row.event.user
        before = chains[row.partition, user]
        last = Chain(before[-1].count, before[-1].digest) if before else Chain()
        chain = chained(last, uid)
        before.append(Counted(uid, user, chain.count, chain.digest))
    return chains


def sums_of_each(rows: Iterable[Row]) -> Counter[Total]:
    """Return each user's sum over each tumbling window, once."""
    sums: Counter[tuple[str, int]] = Counter()
    for row in rows:
        sums[row.event.user, row.time_ms // 1000 // WINDOW_S * WINDOW_S] += row.event.amount
    return Counter(
        Total(user, _instant(start), _instant(start + WINDOW_S), total) for (user, start), total in sums.items()
    )


def visits_of_each(rows: Iterable[Row]) -> Counter[Total]:
    """Return each shop's sessions, once."""
    times: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        times[row.event.shop].append(row.time_ms)
    return Counter(visit for shop, unordered in times.items() for visit in _visits(shop, sorted(unordered)))


def _visits(shop: str, times: list[int]) -> Iterable[Total]:
    first = 0
    for place, time in enumerate(times):
        if place + 1 == len(times) or times[place + 1] - time >= GAP_S * 1000:
            end = _instant(time / 1000 + GAP_S)
            yield Total(shop, _instant(times[first] / 1000), end, place + 1 - first)
            first = place + 1


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def wrong_chains(rows: list[Row], outcomes: Outcomes, order: Callable[[Row], Any]) -> list[str]:
    """Compare what the agent wrote, event by event, and the table's changelog at the end."""
    expected = chain_of_each(rows, order)
    found: dict[str, list[Counted]] = defaultdict(list)
    for _, value in outcomes.counted():
        found[value.user].append(value)
    written = {user: values for (_, user), values in expected.items()}
    table = {
        (partition, user.encode()): Chain(values[-1].count, values[-1].digest)
        for (partition, user), values in expected.items()
    }
    chains = {place: _chain(value) for place, value in outcomes.changelog("chains").items()}
    return [*_differences("what the agent wrote for", written, found), *_differences("table", table, chains)]


def _chain(value: bytes) -> Chain:
    if value[0] != 1:
        raise AssertionError(f"format version {value[0]}")
    return msgspec.json.decode(value[9:], type=Chain)


def wrong_windows(rows: list[Row], outcomes: Outcomes) -> list[str]:
    """Compare closed windows, each of which comes once, and what the changelogs of the windows hold at the end."""
    days: Counter[tuple[int, bytes]] = Counter()
    for row in rows:
        day = row.time_ms // DAY_MS * DAY_MS
        days[row.partition, struct.pack(">q", day) + row.event.user.encode()] += 1
    return [
        *_differences("sum", sums_of_each(rows), Counter(outcomes.totals("sums"))),
        *_differences("visit", visits_of_each(rows), Counter(outcomes.totals("visits"))),
        *_differences("open day", days, _panes(outcomes.changelog("day"), _count)),
        *_differences("open sum", {}, _panes(outcomes.changelog("sum"), bytes)),
        *_differences("open visit", {}, _panes(outcomes.changelog("visit"), bytes)),
    ]


def wrong_tellings(rows: list[Row], outcomes: Outcomes) -> list[str]:
    """Compare how many events of each user timers told of, all in all, with how many there are; nothing is left."""
    told: Counter[str] = Counter()
    for owed in outcomes.tellings():
        told[owed.user] += owed.events
    told.pop(CLOSING_USER, None)
    left = {place: value for place, value in outcomes.changelog("owed").items() if not _is_of_closing(place[1])}
    return [
        *_differences("what timers told of", Counter(row.event.user for row in rows), told),
        *_differences("what timers left in", {}, left),
    ]


def _is_of_closing(key: bytes) -> bool:
    return key.removeprefix(b"\x00p") == CLOSING_USER.encode()


def _panes(changelog: Changelog, decode: Callable[[bytes], Any]) -> dict[tuple[int, bytes], Any]:
    return {place: decode(value) for place, value in changelog.items() if place[1] != b"clock"}


def _count(value: bytes) -> int:
    if value[0] != 1:
        raise AssertionError(f"format version {value[0]}")
    return msgspec.msgpack.decode(value[1:], type=list[int])[0]


def _differences(what: str, expected: Mapping[K, object], found: Mapping[K, object]) -> list[str]:
    """Return a sentence for each of the first few keys that differ."""
    wrong = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    said = [f"{what} {key}: {_short(found.get(key))}, not {_short(expected.get(key))}" for key in wrong[:SHOWN]]
    return [*said, *([f"{what}: {len(wrong)} of {len(expected)} differ"] if wrong else [])]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 200 else f"{text[:100]} ... {text[-100:]}"
