"""Between Bytewax and a step: what the step raises goes to the engine, and what runs is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.running.engine import Engine
from streamserve.observer import Observer
from streamserve.records import Located

X = TypeVar("X")
Y = TypeVar("Y")


class Guard:
    """Keeps what steps raise for the engine instead of a panic inside Bytewax."""

    def __init__(self, engine: Engine, observer: Observer) -> None:
        self._engine = engine
        self._observer = observer

    def __call__(
        self,
        step: Callable[[X], Y],
        name: str,
        *,
        kind: str = "step",
        at: Callable[[X], Located | None] | None = None,
    ) -> Callable[[X], Y | None]:
        """Return what runs ``step``, unless the engine has failed or there is nothing to run it on.

        The observer is told by ``kind`` and ``name`` what runs, and by ``at`` where the records stand.
        """
        engine, observer, locate = self._engine, self._observer, at or _place_of

        def run(item: X) -> Y | None:
            if item is None or engine.failed:
                return None
            observer.entered(kind, name, locate(item))
            try:
                return step(item)
            except BaseException as error:
                engine.fail(error)
                return None
            finally:
                observer.left()

        return run


def _place_of(item: object) -> Located | None:
    """Return what can say where the records of ``item`` stand, if it has any."""
    return item if isinstance(item, RecordBatch) else None
