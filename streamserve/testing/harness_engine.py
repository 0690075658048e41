"""The engine on a thread of its own, of which the harness lets just as much run as it wants."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

from streamserve.dataflow.running.worker import Worker
from streamserve.testing.memory_kafka import Cluster, ProcessDied

PATIENCE_SECONDS = 60.0
"""How long a step may take, in real time, before the harness gives up on the engine."""


class EngineThread:
    """Workers, one after the other, on a cluster: a step runs until everything on the cluster is worked off.

    Either the thread that steps or the engine's runs, never both: what happens is the same every time. A worker whose
    process dies is followed by another, unless it was to stop.
    """

    def __init__(self, cluster: Cluster, start_worker: Callable[[], Worker]) -> None:
        self._start_worker = start_worker
        self._worker: Worker | None = None
        self._turn = threading.Condition()
        self._engine_runs = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="streamserve-harness", daemon=True)
        cluster.at_rest = self._rest

    def start(self) -> None:
        """Start the first worker, and let it take over its partitions; raises as ``step`` does."""
        self._engine_runs = True
        self._thread.start()
        self._await_rest()

    def step(self) -> None:
        """Let the engine run until it has nothing left to do.

        Raises what ended the engine, if it ended; ``TimeoutError`` when it does not come to rest; ``RuntimeError``
        when it does not run.
        """
        if self._failure is not None:
            raise self._failure
        if not self._thread.is_alive():
            raise RuntimeError("the app runs only inside the harness's 'with' block")
        with self._turn:
            self._engine_runs = True
            self._turn.notify_all()
        self._await_rest()

    def _await_rest(self) -> None:
        with self._turn:
            rests = self._turn.wait_for(lambda: not self._engine_runs, PATIENCE_SECONDS)
        if not rests:
            if self._worker is not None:
                self._worker.stop()
            raise TimeoutError(f"the app did not come to rest within {PATIENCE_SECONDS:g} s: does an agent wait?")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let the worker drain, commit and end; raises as ``step`` does, unless it did before."""
        at_rest = not self._engine_runs
        if self._worker is not None and at_rest and self._thread.is_alive():
            self._stopping = True
            self._worker.stop()
            self.step()
            self._thread.join(PATIENCE_SECONDS)

    def _rest(self) -> None:
        """Give the turn back, and wait for the next; called on the engine's thread."""
        with self._turn:
            self._engine_runs = False
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._engine_runs)

    def _run(self) -> None:
        try:
            self._run_workers()
        except BaseException as error:
            self._failure = error
        with self._turn:
            self._engine_runs = False
            self._turn.notify_all()

    def _run_workers(self) -> None:
        """Run a worker to its end, and one more for each that dies.

        A worker collects garbage before it starts; what is here already is kept out of that, which would take most of
        the time of a test. The worker's end lets it go.
        """
        while True:
            gc.freeze()
            self._worker = self._start_worker()
            try:
                self._worker.run()
            except ProcessDied:
                if not self._stopping:
                    continue
            return
