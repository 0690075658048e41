"""A table: typed values by key, of one partition group, with time to live, and with timers by two clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from streamserve.errors import AgentError
from streamserve.state.base import Changes
from streamserve.state.definition import TableDefinition
from streamserve.state.format import (
    ESCAPED,
    FIRST_PLAIN,
    PAYLOAD,
    PROCESSING_TIMER,
    TIMER,
    pack_head,
    to_user_key,
    unpack_stamp,
)
from streamserve.state.pending import DELETED, Pending, TableChanges
from streamserve.state.records import TableRecords
from streamserve.state.store import Store
from streamserve.state.timers import TimerClock, Timers

__all__ = ["TableState"]

V = TypeVar("V")

_ABSENT: Final[Any] = object()

_PREFIXES: Final[Mapping[TimerClock, bytes]] = {"event": TIMER, "processing": PROCESSING_TIMER}
"""What stands before a key in the changelog key of its timer."""


class TableState(Generic[V]):
    r"""One table of one partition group; keys are bytes, times are milliseconds since the epoch (UTC).

    Reads and writes happen in a ``Pending``: they see its own changes first, and nothing outlives it but by its
    ``commit``. A value is encoded and read back when it is set, so what cannot be stored fails there, and a value of a
    frozen type is the same before and after a commit. Values of a type that is not frozen are watched, and one that was
    changed in place without ``set`` or ``update`` fails the event. A changed value lives from its event on. An event's
    own writes never expire before it ends.

    A key may have one timer of each clock. A timer stands by itself: neither deleting the key nor its expiry takes it
    away.

    >>> from streamserve.state.store import MemoryStore
    >>> table = TableState(TableDefinition("seen", str.encode, bytes.decode, default=str), MemoryStore())
    >>> event = Pending(now_ms=1_000)
    >>> table.get(event, b"EWR"), table.contains(event, b"EWR")
    ('', False)
    >>> table.update(event, b"EWR", lambda seen: seen + "UA1545 ")
    'UA1545 '
    >>> event.commit()
    >>> table.take_changes()
    ([b'EWR'], [b'\x01\x00\x00\x00\x00\x00\x00\x03\xe8UA1545 '])
    """

    def __init__(self, definition: TableDefinition[V], store: Store) -> None:
        self.definition: Final = definition
        self.store: Final = store
        self._is_frozen = definition.is_frozen
        self._has_ttl = definition.ttl_ms is not None
        self._records = TableRecords(definition.name, store, definition.ttl_ms)
        self._changed = self._records.changed
        self._timers = {prefix: Timers() for prefix in _PREFIXES.values()}

    def get(self, pending: Pending, key: bytes) -> V:
        """Return the value of ``key``, or the table's default, which is not stored until it is set.

        Raises:
            MissingKey: there is neither.
            ConfigurationError: the stored value does not fit the table's type, nor does ``migrate`` help.
        """
        changes = pending.changes.get(self) or self._begin(pending)
        return self._value(pending, changes, key if key >= FIRST_PLAIN else ESCAPED + key)

    def set(self, pending: Pending, key: bytes, value: V) -> None:
        """Let ``key`` have ``value``.

        Raises:
            EncodeError: the table's type does not admit it.
        """
        changes = pending.changes.get(self) or self._begin(pending)
        self._write(pending, changes, key if key >= FIRST_PLAIN else ESCAPED + key, value)

    def update(self, pending: Pending, key: bytes, fn: Callable[[V], V]) -> V:
        """Set and return what ``fn`` makes of the value of ``key``; ``fn`` may change a value in place and return it.

        Raises:
            MissingKey: the key has no value and the table no default.
            EncodeError: the table's type does not admit what ``fn`` returned.
        """
        changes = pending.changes.get(self) or self._begin(pending)
        record_key = key if key >= FIRST_PLAIN else ESCAPED + key
        value = fn(self._value(pending, changes, record_key))
        self._write(pending, changes, record_key, value)
        return value

    def delete(self, pending: Pending, key: bytes) -> bool:
        """Delete the value of ``key`` and tell whether there was one."""
        changes = pending.changes.get(self) or self._begin(pending)
        record_key = key if key >= FIRST_PLAIN else ESCAPED + key
        existed = self._find(pending, changes, record_key) is not None
        if existed:
            changes.entries[record_key] = DELETED
        changes.read.pop(record_key, None)
        changes.before.pop(record_key, None)
        return existed

    def contains(self, pending: Pending, key: bytes) -> bool:
        """Tell whether ``key`` has a value of its own; the default is none."""
        changes = pending.changes.get(self) or self._begin(pending)
        return self._find(pending, changes, key if key >= FIRST_PLAIN else ESCAPED + key) is not None

    def items(self, pending: Pending) -> Iterator[tuple[bytes, V]]:
        """Iterate over keys and values in byte order of keys: those of the first step, less those deleted meanwhile.

        The order is the same on every store and after every restore; a store in memory sorts its keys for it. Values of
        a type that is not frozen are watched, so all that were passed stay in memory until the event ends.
        """
        changes = pending.changes.get(self) or self._begin(pending)
        for record_key, record in self._records.scan(changes.entries, pending.as_of_ms):
            if changes.entries.get(record_key) is DELETED:
                continue
            key = to_user_key(record_key)
            if self._is_frozen and record_key not in changes.entries:
                yield key, self._decode(record_key, record)
            else:
                yield key, self.get(pending, key)

    def find_many(self, keys: Sequence[bytes], times_ms: Sequence[int]) -> list[V | None]:
        """Return each key's value at its time, ``None`` where there is none: for joins of a whole batch.

        Reads what finished events left. The values are for reading only: changes in place go unnoticed.
        """
        record_keys = [key if key >= FIRST_PLAIN else ESCAPED + key for key in keys]
        found = self._records.find_many(record_keys, times_ms)
        return [
            None if record is None else self._decode(key, record)
            for key, record in zip(record_keys, found, strict=True)
        ]

    def committed(self, key: bytes) -> bytes | None:
        """Return the encoded value of ``key`` as it was when changes were last taken, ``None`` where there was none."""
        record = self._records.find_stored(key if key >= FIRST_PLAIN else ESCAPED + key)
        return None if record is None else record[PAYLOAD:]

    def set_timer(self, pending: Pending, key: bytes, at_ms: int, clock: TimerClock = "event") -> None:
        """Let ``due`` return ``key`` once the clock reaches ``at_ms``; the key's earlier timer of it is replaced.

        One of event time that is set to a time that the watermark has passed is due at once, as of the watermark.
        """
        if clock == "event":
            at_ms = max(at_ms, pending.reached_ms)
        (pending.changes.get(self) or self._begin(pending)).timers[_PREFIXES[clock] + key] = at_ms

    def delete_timer(self, pending: Pending, key: bytes, clock: TimerClock = "event") -> None:
        """Forget the timer of ``key``, if there is one."""
        (pending.changes.get(self) or self._begin(pending)).timers[_PREFIXES[clock] + key] = None

    def due(self, now_ms: int, clock: TimerClock = "event") -> list[tuple[bytes, int]]:
        """Take out and return timers due at ``now_ms`` as (key, time), by time, then by key; if there are, ask again.

        The clock of event time is the watermark.
        """
        prefix = _PREFIXES[clock]
        due = self._timers[prefix].due(now_ms)
        if due:
            self._changed.update(dict.fromkeys([prefix + key for key, _ in due], DELETED))
        return due

    def next_timer(self, clock: TimerClock) -> int | None:
        """Return when the next timer of finished events is due, ``None`` where there is none."""
        return self._timers[_PREFIXES[clock]].next_ms

    def advance(self, watermark_ms: int) -> int:
        """Move the watermark on, delete what has expired, and return how many values that were."""
        return self._records.advance(watermark_ms)

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log: a later value of a key wins, ``None`` deletes it.

        Raises:
            ConfigurationError: a record has a format version that this release does not know.
        """
        self._records.load(keys, values)

    def loaded(self) -> None:
        """Tell that the changelog's end is reached; nothing else is asked of the state before."""
        for prefix, timers in self._timers.items():
            for record_key, record in self._records.timers(prefix):
                timers.set(to_user_key(record_key), unpack_stamp(record))

    def take_changes(self) -> Changes:
        """Return what changed since the last call; afterwards the state counts as clean."""
        return self._records.take_changes()

    def verify(self, changes: TableChanges) -> None:
        """Raise ``AgentError`` if a value that was handed out is another than it was, without ``set`` or ``update``."""
        set_here = {record_key: entry[1] for record_key, entry in changes.entries.items() if entry is not DELETED}
        values = {**changes.read, **set_here}
        for record_key, before in changes.before.items():
            if self.definition.changed_in_place(values[record_key], before):
                raise AgentError(
                    f"table {self.definition.name!r}: a value was changed in place, which nothing would store. "
                    "Write table.update(key, fn), or set the changed value."
                )

    def apply(self, changes: TableChanges) -> None:
        """Make the changes of a finished event those of the table."""
        self._changed.update(changes.entries)
        if changes.timers:
            self._apply_timers(changes.timers)

    def _begin(self, pending: Pending) -> TableChanges:
        changes = pending.changes[self] = TableChanges()
        return changes

    def _value(self, pending: Pending, changes: TableChanges, record_key: bytes) -> V:
        """Return the value that this event sees under ``record_key``."""
        entry = changes.entries.get(record_key)
        if entry is None and self._is_frozen and not self._has_ttl:
            entry = self._changed.get(record_key)
        if entry is not None and entry is not DELETED:
            return entry[1]
        value = changes.read.get(record_key, _ABSENT)
        return self._read(pending, changes, record_key) if value is _ABSENT else value

    def _read(self, pending: Pending, changes: TableChanges, record_key: bytes) -> V:
        """Return the value under ``record_key``, and keep it for the event."""
        record = self._find(pending, changes, record_key)
        value = self.definition.new_value() if record is None else self._decode(record_key, record)
        changes.read[record_key] = value
        if not self._is_frozen:
            changes.before[record_key] = self.definition.to_payload(value) if record is None else record[PAYLOAD:]
        return value

    def _write(self, pending: Pending, changes: TableChanges, record_key: bytes, value: V) -> None:
        payload = self.definition.to_payload(value)
        known = self.definition.read_back(value, payload)
        stamp_ms = pending.now_ms
        if self._has_ttl:
            stamp_ms = self._latest_stamp(pending, changes, record_key)
        changes.entries[record_key] = pack_head(stamp_ms) + payload, known if self._is_frozen else value
        if not self._is_frozen:
            changes.before[record_key] = payload

    def _find(self, pending: Pending, changes: TableChanges, record_key: bytes) -> bytes | None:
        """Return the record that this event sees under ``record_key``."""
        entry = changes.entries.get(record_key)
        if entry is not None:
            return entry[0]
        return self._records.find(record_key, pending.as_of_ms if self._has_ttl else pending.now_ms)

    def _latest_stamp(self, pending: Pending, changes: TableChanges, record_key: bytes) -> int:
        """Return the time of last write of a value written now: a late event does not shorten the value's life."""
        before = self._find(pending, changes, record_key)
        return pending.now_ms if before is None else max(pending.now_ms, unpack_stamp(before))

    def _decode(self, record_key: bytes, record: bytes) -> V:
        """Return the value of ``record``; a frozen one that an event has set since the last commit is at hand."""
        entry = self._changed.get(record_key)
        if self._is_frozen and entry is not None and entry[0] is record:
            return entry[1]
        return self.definition.to_value(record[PAYLOAD:])

    def _apply_timers(self, changes: Mapping[bytes, int | None]) -> None:
        for record_key, at_ms in changes.items():
            timers, key = self._timers[record_key[: len(TIMER)]], to_user_key(record_key)
            if at_ms is None:
                timers.delete(key)
                self._changed[record_key] = DELETED
            else:
                timers.set(key, at_ms)
                self._changed[record_key] = pack_head(at_ms), None
