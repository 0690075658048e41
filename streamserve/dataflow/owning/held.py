"""What a worker's tables hold, for other threads: the engine's own answers between two batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.errors import OutageError
from streamserve.state.table import TableState

__all__ = ["HeldTable", "HeldTables", "HeldValue"]

T = TypeVar("T")
_Groups: TypeAlias = Mapping[GroupKey, Group]


@dataclass(frozen=True, slots=True)
class HeldTable:
    """A table, and how many records each partition that this worker owns has of it.

    Timers count; on disk the number is an estimate.
    """

    table: str
    store: str
    records: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class HeldValue:
    """The partition that a key was found in, and its value as JSON."""

    partition: int
    value: bytes


class HeldTables:
    """Answers from the partitions that the worker owns, as of their last commit.

    ``serve`` is the engine's; everything else may be called from any thread.

    Raises (from ``overview`` and ``find``):
        OutageError: the engine gave no answer within ``patience_s`` seconds.
    """

    def __init__(self, plan: Plan, *, patience_s: float = 5.0) -> None:
        self._nodes = plan.tables
        self._patience_s = patience_s
        self._questions: SimpleQueue[tuple[Callable[[_Groups], Any], Future[Any]]] = SimpleQueue()

    def overview(self) -> list[HeldTable]:
        """Return all tables of the app."""
        return self._ask(
            lambda groups: [HeldTable(name, node.store, _sizes(groups, name)) for name, node in self._nodes.items()]
        )

    def find(self, table: str, key: bytes) -> HeldValue | None:
        """Return the value of ``key`` in ``table``, ``None`` if this worker has none.

        Raises:
            KeyError: the app has no such table.
        """
        if table not in self._nodes:
            raise KeyError(table)
        return self._ask(lambda groups: _find(groups, table, key))

    def _ask(self, question: Callable[[_Groups], T]) -> T:
        answer: Future[T] = Future()
        self._questions.put((question, answer))
        try:
            return answer.result(self._patience_s)
        except NoAnswer:
            answer.cancel()
            raise OutageError(f"no answer within {self._patience_s:g} s: the worker is busy or restarting") from None

    def serve(self, groups: _Groups) -> None:
        """Answer what was asked, from ``groups``."""
        while not self._questions.empty():
            try:
                question, answer = self._questions.get_nowait()
            except Empty:
                return
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question(groups))
                except Exception as error:
                    answer.set_exception(error)


def _states(groups: _Groups, table: str) -> dict[int, TableState[Any]]:
    found = {group.partition: group.tables.get(table) for group in groups.values()}
    return {partition: state for partition, state in found.items() if isinstance(state, TableState)}


def _sizes(groups: _Groups, table: str) -> dict[int, int]:
    return {partition: state.store.estimated_size() for partition, state in sorted(_states(groups, table).items())}


def _find(groups: _Groups, table: str, key: bytes) -> HeldValue | None:
    for partition, state in _states(groups, table).items():
        if (payload := state.committed(key)) is not None:
            return HeldValue(partition, payload)
    return None
