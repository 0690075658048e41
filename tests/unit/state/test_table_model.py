"""A table against plain dictionaries, under random events, aborts, expiry, timers, commits, crashes and restores."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamserve.errors import MissingKey
from streamserve.state.definition import TableDefinition
from streamserve.state.disk import DiskStore
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore, Store
from streamserve.state.table import TableState
from streamserve.state.timers import TimerClock

TTL_MS = 64
DEFINITION = TableDefinition(
    "numbers", msgspec.json.encode, msgspec.json.Decoder(list[int]).decode, ttl_ms=TTL_MS, is_frozen=False
)

CLOCKS: tuple[TimerClock, ...] = ("event", "processing")

keys = st.sampled_from([b"", b"\x00t", b"\x00p", b"a", b"b"])
times = st.builds(int.__add__, st.sampled_from([0, 1, 2, 3, 4]).map(TTL_MS.__mul__), st.sampled_from([-1, 0, 1, 30]))
numbers = st.lists(st.integers(), max_size=2)
actions = st.one_of(
    st.tuples(st.just("set"), keys, numbers),
    st.tuples(st.just("append"), keys, st.integers()),
    st.tuples(st.sampled_from(["delete", "read"]), keys, st.none()),
    st.tuples(st.sampled_from(CLOCKS), keys, st.none() | times),
)


@dataclass
class Model:
    """What the table should be: values with the time of last write, timers, and nothing else."""

    values: dict[bytes, tuple[list[int], int]] = field(default_factory=dict[bytes, tuple[list[int], int]])
    timers: dict[tuple[TimerClock, bytes], int] = field(default_factory=dict[tuple[TimerClock, bytes], int])

    def live(self, now_ms: int) -> dict[bytes, list[int]]:
        return {key: value for key, (value, stamp_ms) in self.values.items() if now_ms <= stamp_ms + TTL_MS}

    def finish(
        self,
        now_ms: int,
        values: dict[bytes, list[int] | None],
        timers: dict[tuple[TimerClock, bytes], int | None],
        deleted: set[bytes],
    ) -> None:
        """Take over what an event wrote; a late one shortens no value's life, but for one that it ``deleted`` first."""
        for key, value in values.items():
            _, before_ms = self.values.pop(key, ([], now_ms))
            if value is not None:
                self.values[key] = value, now_ms if key in deleted else max(before_ms, now_ms)
        self.timers |= {key: at_ms for key, at_ms in timers.items() if at_ms is not None}
        self.timers = {key: at_ms for key, at_ms in self.timers.items() if timers.get(key, at_ms) is not None}

    def forget(self, watermark_ms: int) -> None:
        alive = self.live(watermark_ms)
        self.values = {key: entry for key, entry in self.values.items() if key in alive}


class MemoryTable(RuleBasedStateMachine):
    """What an engine does to a table, event by event, with the changelog as a list."""

    def __init__(self) -> None:
        super().__init__()
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.watermark_ms = -1
        self.model = Model()
        self.committed = Model()
        self.store = self.open_store()
        self.table = self.restore(0)

    def open_store(self) -> Store:
        return MemoryStore()

    def close_store(self, clean_at: int | None) -> None:
        self.store.close(clean_at)

    def restore(self, start: int) -> TableState[list[int]]:
        table = TableState(DEFINITION, self.store)
        for part in (self.changelog[start : start + 3], self.changelog[start + 3 :]):
            table.load([key for key, _ in part], [value for _, value in part])
        table.loaded()
        table.advance(self.watermark_ms)
        return table

    @rule(now_ms=times, actions=st.lists(actions, min_size=1, max_size=6), succeeds=st.booleans() | st.just(True))
    def event(self, now_ms: int, actions: list[tuple[str, bytes, Any]], *, succeeds: bool) -> None:
        pending = Pending(now_ms)
        seen = self.model.live(max(now_ms, self.watermark_ms))
        written, deleted, timers = set[bytes](), set[bytes](), dict[tuple[TimerClock, bytes], int | None]()
        for action, key, argument in actions:
            if action in CLOCKS:
                self.set_timer(pending, key, argument, action)
                timers[action, key] = argument
            elif self.act(pending, action, key, argument, seen):
                written.add(key)
                deleted |= {key} if action == "delete" else set()
        assert list(self.table.items(pending)) == sorted(seen.items())
        if succeeds:
            pending.commit()
            self.model.finish(now_ms, {key: seen.get(key) for key in written}, timers, deleted)

    def act(self, pending: Pending, action: str, key: bytes, argument: Any, seen: dict[bytes, list[int]]) -> bool:
        """Do ``action`` to the table and to ``seen``; tell whether it writes."""
        assert self.table.contains(pending, key) == (key in seen)
        if action == "delete":
            assert self.table.delete(pending, key) == (key in seen)
            return seen.pop(key, None) is not None
        if action == "set":
            self.table.set(pending, key, argument)
            seen[key] = argument
        elif key not in seen:
            with pytest.raises(MissingKey):
                self.table.get(pending, key)
            return False
        elif action == "append":
            seen[key] = self.table.update(pending, key, lambda value: [*value, argument][-3:])
        assert self.table.get(pending, key) == seen[key]
        return action != "read"

    def set_timer(self, pending: Pending, key: bytes, at_ms: int | None, clock: TimerClock) -> None:
        if at_ms is None:
            self.table.delete_timer(pending, key, clock)
        else:
            self.table.set_timer(pending, key, at_ms, clock)

    @rule(watermark_ms=times)
    def advance(self, watermark_ms: int) -> None:
        self.table.advance(watermark_ms)
        self.watermark_ms = max(watermark_ms, self.watermark_ms)
        self.model.forget(self.watermark_ms)

    @rule()
    def fire(self) -> None:
        self.take_due("event", self.watermark_ms)

    @rule(now_ms=times)
    def fire_by_the_clock(self, now_ms: int) -> None:
        self.take_due("processing", now_ms)

    def take_due(self, clock: TimerClock, now_ms: int) -> None:
        mine = {key: at_ms for (whose, key), at_ms in self.model.timers.items() if whose == clock}
        assert self.table.next_timer(clock) == min(mine.values(), default=None)
        due = sorted((item for item in mine.items() if item[1] <= now_ms), key=lambda item: item[::-1])
        assert self.table.due(now_ms, clock) == due
        for key, _ in due:
            del self.model.timers[clock, key]

    @rule()
    def commit(self) -> None:
        keys, values = self.table.take_changes()
        assert len(keys) == len(values) == len(set(keys))
        self.changelog += zip(keys, values, strict=True)
        self.committed = deepcopy(self.model)
        assert self.table.take_changes() == ([], [])

    @rule()
    def crash(self) -> None:
        self.close_store(None)
        self.store = self.open_store()
        self.table = self.restore(0)
        self.model = deepcopy(self.committed)
        self.model.forget(self.watermark_ms)

    @rule()
    def stop_and_start(self) -> None:
        self.commit()
        self.close_store(len(self.changelog))
        self.store = self.open_store()
        self.table = self.restore(self.store.opened_at or 0)

    @invariant()
    def iterates_over_what_is_there(self) -> None:
        assert list(self.table.items(Pending(0))) == sorted(self.model.live(self.watermark_ms).items())


class DiskTable(MemoryTable):
    """The same on RocksDB, which a clean stop lets go on from its own files."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        super().__init__()

    def open_store(self) -> Store:
        return DiskStore(Path(self.folder.name))

    def teardown(self) -> None:
        self.close_store(None)
        self.folder.cleanup()


def _test_case(machine: type[MemoryTable], examples: int) -> type:
    case = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=25, deadline=None)
    return case


TestMemoryTable = _test_case(MemoryTable, 100)
TestDiskTable = _test_case(DiskTable, 6)
