"""The one source step: asks the engine, between batches, what goes through the dataflow next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bytewax.inputs import AbortExecution, DynamicSource, StatelessSourcePartition

Item = TypeVar("Item")


class EngineSource(DynamicSource[Item]):
    """Calls ``turn`` on the single worker.

    ``turn`` returns items, an empty list for nothing yet, or ``None`` at the end. What it raises must be kept by its
    owner: here it only ends the run, since an exception in a step would become a panic of Bytewax.
    """

    def __init__(self, turn: Callable[[], list[Item] | None], on_failure: Callable[[BaseException], None]) -> None:
        self._turn = turn
        self._on_failure = on_failure

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Item]:  # noqa: ARG002 - Bytewax's signature
        """Return the one partition; more workers in a process would tear the transaction."""
        if worker_count != 1:
            raise AssertionError("one worker per process: scale by processes in one consumer group")
        return _Turns(self._turn, self._on_failure)


class _Turns(StatelessSourcePartition[Item]):
    def __init__(self, turn: Callable[[], list[Item] | None], on_failure: Callable[[BaseException], None]) -> None:
        self._turn = turn
        self._on_failure = on_failure

    def next_batch(self) -> list[Item]:
        """Return the next items; everything returned before has been through all branches."""
        try:
            items = self._turn()
        except BaseException as error:
            self._on_failure(error)
            raise AbortExecution from None
        if items is None:
            raise StopIteration
        return items
