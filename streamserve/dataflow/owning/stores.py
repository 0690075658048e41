"""Stores of tables on disk: up to where each is known to hold its changelog, and how it is closed.

A store is trusted again only if the changelog's records up to a known offset are in it, and no others. That is so after
a commit, up to the changelog's last stable offset, if nobody else has committed for the group: whoever did would have
written changes that this worker's store lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import Plan
from streamserve.errors import OutageError
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import Committed, TopicPartitionKey
from streamserve.state.table import TableState

__all__ = ["let_go", "on_disk", "settle"]


def on_disk(group: Group) -> dict[str, TableState[Any]]:
    """Return the group's tables that are kept on disk, by name."""
    states = group.tables.items()
    return {name: state for name, state in states if isinstance(state, TableState) and state.store.is_indexed_on_disk}


def settle(groups: Iterable[Group], plan: Plan, consumer: GroupConsumer, instance: str) -> None:
    """Learn up to where the stores of ``groups``, which are all committed, hold their changelogs.

    The ends are read before the committed offsets: what is below a last stable offset was committed by then. Where
    the broker does not answer, or somebody else has committed, nothing is known: the store will be rebuilt.
    """
    with suppress(OutageError):
        for group in groups:
            names = list(on_disk(group))
            if names and not group.moved:
                ends = {name: consumer.stable_end((plan.changelog_of(name), group.partition)) for name in names}
                if _is_last_owner(group, consumer.committed(group.inputs), instance):
                    group.clean_at = ends


def _is_last_owner(group: Group, committed: Mapping[TopicPartitionKey, Committed], instance: str) -> bool:
    marks = [found.mark for found in committed.values() if found.mark is not None]
    progress = {key: found.progress for key, found in committed.items() if found.progress is not None}
    return bool(marks) and all(mark.instance == instance for mark in marks) and progress == group.progress


def let_go(groups: Iterable[Group]) -> None:
    """Close the stores of ``groups``, cleanly where it is known what they hold; a group has no tables afterwards.

    A disk that fails here costs a restore, nothing else.
    """
    for group in groups:
        for name, table in on_disk(group).items():
            with suppress(OutageError):
                table.store.close(group.clean_at.get(name))
        group.tables = {}
        group.clean_at = {}
