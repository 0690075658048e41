"""Makes the tables, windows and joins of a partition group, empty, ready to be loaded from their changelogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamserve.clock import Clock
from streamserve.codecs.base import ValueCodec
from streamserve.codecs.json import codec_for
from streamserve.dataflow.buffered import Buffered
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import TableNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.errors import StreamserveError
from streamserve.folders import state_home
from streamserve.kafka.clients import MAX_MESSAGE_BYTES
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState
from streamserve.state.definition import TableDefinition
from streamserve.state.disk import DiskStore, require_rocksdict
from streamserve.state.immutable import is_immutable
from streamserve.state.joins import StreamJoin
from streamserve.state.store import MemoryStore, Store
from streamserve.state.table import TableState
from streamserve.state.windows import WindowedState

_ENVELOPE_BYTES = 1024
"""Room beside a value for its key, its time and what Kafka writes around them."""

_EXACT = (int, str, bool, bytes)
"""Types whose values come back from JSON, or as the bytes that they are, as they were."""


class States:
    """Makes what lives with a partition group, by name.

    ``message_bytes`` has the largest message that changelogs take, by topic: without compression, so that what a table
    takes does not depend on what is in it. ``topic_ids`` has the identities of the changelogs of tables on disk.

    Raises:
        ConfigurationError: a table is kept on disk, and rocksdict is missing.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        clock: Clock,
        message_bytes: Mapping[str, int],
        topic_ids: Mapping[str, str],
    ) -> None:
        if any(node.store == "disk" for node in plan.tables.values()):
            require_rocksdict()
        self._clock = clock
        self._nodes = plan.tables
        self._changelogs = {name: topic_ids.get(plan.changelog_of(name), "") for name in plan.tables}
        self._folder = (settings.state_dir or state_home() / "tables") / plan.app / settings.instance
        self._definitions: Mapping[str, TableDefinition[Any]] = {
            name: replace(definition_of(node), max_bytes=_room(message_bytes.get(plan.changelog_of(name))))
            for name, node in plan.tables.items()
        }
        self._windows = plan.windows
        self._labels = plan.labels
        self._joins = plan.joins

    def new(self, group: Group) -> dict[str, ChangelogState]:
        """Return the tables, windows and joins of ``group``.

        Raises:
            ConfigurationError: a table's directory is in use by another process, or cannot be used.
        """
        states: dict[str, ChangelogState] = {**self._tables(group)}
        for name in group.part.labels:
            states[name] = GroupLabels(self._labels[name].measure, partition=group.partition)
        for name in group.part.windows:
            node = self._windows[name]
            states[name] = WindowedState(name, node.window, node.aggregate)
        for name in group.part.joins:
            join = self._joins[name]
            states[name] = StreamJoin(name, within_ms=join.within_ms, kind=join.kind, payload=Buffered)
        return states

    def _tables(self, group: Group) -> dict[str, TableState[Any]]:
        """Return the tables of ``group``; when one does not open, none stays open."""
        tables: dict[str, TableState[Any]] = {}
        try:
            for name in group.part.tables:
                tables[name] = TableState(self._definitions[name], self._store(name, group.partition))
        except StreamserveError:
            for table in tables.values():
                table.store.close(None)
            raise
        return tables

    def _store(self, name: str, partition: int) -> Store:
        if self._nodes[name].store == "memory":
            return MemoryStore()
        return DiskStore(self._folder / f"{name}-{partition}", clock=self._clock, changelog=self._changelogs[name])


def _room(message_bytes: int | None) -> int:
    """Return how long a value may be; our producers hand no larger messages to a broker whatever it takes."""
    return max(0, min(message_bytes or MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES) - _ENVELOPE_BYTES)


def definition_of(node: TableNode) -> TableDefinition[Any]:
    """Return what a table is.

    Raises:
        PlanError: its values cannot be written as JSON.
    """
    codec: ValueCodec[Any] = codec_for(node.value_type)
    return TableDefinition(
        node.name,
        codec.encode_one,
        codec.decode_one,
        node.default,
        node.ttl_ms,
        is_frozen=is_immutable(node.value_type),
        migrate=node.migrate,
        exact=node.value_type if node.value_type in _EXACT else None,
    )
