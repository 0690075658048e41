"""The sink step: hands what steps made to the engine's open transaction. It commits nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bytewax.outputs import DynamicSink, StatelessSinkPartition

Item = TypeVar("Item")


class EngineSink(DynamicSink[Item]):
    """Calls ``write`` with each item; ``write`` must not raise."""

    def __init__(self, write: Callable[[Item], None]) -> None:
        self._write = write

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Item]:  # noqa: ARG002 - Bytewax's signature
        """Return the one partition."""
        return _Writes(self._write)


class _Writes(StatelessSinkPartition[Item]):
    def __init__(self, write: Callable[[Item], None]) -> None:
        self._write = write

    def write_batch(self, items: list[Item]) -> None:
        """Write each item."""
        for item in items:
            self._write(item)
