"""A worker: incarnation after incarnation of the engine until it is told to stop or cannot go on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from streamserve.clock import Clock, SystemClock
from streamserve.dataflow.owning.global_tables import GlobalTables
from streamserve.dataflow.owning.groups import Group, GroupState
from streamserve.dataflow.owning.held import HeldTables
from streamserve.dataflow.owning.states import States
from streamserve.dataflow.planning.nodes import OnError
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.topics import check_channels, topic_specs
from streamserve.dataflow.running.compiler import Compiler, DataflowPanic, run_dataflow
from streamserve.dataflow.running.engine import Engine, Stations
from streamserve.dataflow.running.schedule import Schedule
from streamserve.dataflow.runtime import OpenReader, Runtime, open_runtime
from streamserve.dataflow.steps.decoding import DECODE, LATE
from streamserve.dataflow.steps.monitors import open_monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.durations import to_milliseconds
from streamserve.errors import ConfigurationError, EngineRestart, MemberFenced, OutageError, ProducerFenced
from streamserve.inference.runner import Runner
from streamserve.kafka.admin import Admin
from streamserve.kafka.calls import Calls, Hook
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.errors import translated
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import CommittedOutcomes, Observer
from streamserve.settings import Settings

if TYPE_CHECKING:
    from bytewax.dataflow import Dataflow

R = TypeVar("R")

_FIRST_BACKOFF_SECONDS = 0.1
_LAST_BACKOFF_SECONDS = 5.0
_FENCED_SECONDS = 60.0
_BORNE = {MemberFenced: 1, ProducerFenced: 7}
"""How many fencings a worker takes in this time: two workers of one name would fence each other for ever, once a second
under load. A broker's restart makes a worker fence itself once, an operator may abort some of its transactions, and
batches that outlast the shortest sensible ``transaction_timeout`` (10 s) are fenced five times.
"""


class Worker:
    """Runs an app's plan in this process until ``stop``.

    ``run`` returns after a drain and a last commit. ``readers`` stand in for the feature repository, by service,
    ``runners`` for the model registry, by model; ``hook`` sees every Kafka call, on clients made by ``clients``.
    ``quarantine`` has what is known from before of records that end the process.

    Raises (from ``run``):
        ConfigurationError: something has to be mended first.
        OutageError: Kafka, Feast or the registry stayed away for ``shutdown_timeout``.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        observer: Observer | None = None,
        readers: Mapping[str, OpenReader] | None = None,
        hook: Hook | None = None,
        clock: Clock | None = None,
        clients: Clients = KAFKA_CLIENTS,
        runners: Mapping[str, Runner] | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self.tables = HeldTables(plan)
        """What the worker's tables hold, for other threads."""
        self._observer = CommittedOutcomes(observer or Observer())
        self._readers = readers
        self._runners = runners
        self._calls = Calls(hook, clients, self._observer)
        self._clock = clock or SystemClock()
        self._quarantine = quarantine or Quarantine()
        self._engine: Engine | None = None
        self._stopping = False
        self._restarting = False
        self._partitions: Mapping[str, int] = {}
        self._message_bytes: Mapping[str, int] = {}
        self._topic_ids: Mapping[str, str] = {}
        self._healthy_at = self._clock.monotonic()
        self._fenced: dict[type[EngineRestart], list[float]] = {kind: [] for kind in _BORNE}

    def stop(self) -> None:
        """Drain, commit and end; safe to call from a signal handler, again and again."""
        self._stopping = True
        if self._engine is not None:
            self._engine.stop()

    def run(self) -> None:
        """Process until stopped."""
        loop = asyncio.new_event_loop()
        try:
            runtime = self._persist(self._prepare)
            if runtime is None:
                return
            with _lifespans(self._plan, loop, self._observer), _frozen_garbage():
                while not self._stopping:
                    self._persist(lambda: self._incarnation(runtime, loop))
        finally:
            loop.close()

    def _prepare(self) -> Runtime:
        self._check_topics()
        with _told(self._observer, "start", "loading models"):
            return open_runtime(self._plan, self._settings, self._observer, self._readers, self._runners)

    def _check_topics(self) -> None:
        with _told(self._observer, "start", "looking at topics"):
            self._look_at_topics()

    def _look_at_topics(self) -> None:
        admin = Admin(self._settings, self._calls.clients)
        self._partitions = admin.partitions()
        admin.check(topic_specs(self._plan, self._partitions))
        used = {self._plan.changelog_of(name): name for part in self._plan.parts for name in part.tables}
        self._message_bytes = admin.message_bytes(list(used))
        on_disk = [topic for topic, name in used.items() if self._plan.tables[name].store == "disk"]
        self._topic_ids = admin.topic_ids(on_disk)
        check_channels(self._plan, self._partitions, self._settings.instance, admin.metadata_bytes)

    def _persist(self, attempt: Callable[[], R]) -> R | None:
        """Try ``attempt`` until it returns: restarts go on for ever, an outage until its deadline.

        An incarnation that committed anything, or was idle for a while, was healthy: back-off and deadline start anew.
        """
        backoff = _FIRST_BACKOFF_SECONDS
        deadline = to_milliseconds(self._settings.shutdown_timeout) / 1000
        self._healthy_at = self._clock.monotonic()
        while not self._stopping:
            tried_at = self._clock.monotonic()
            try:
                return attempt()
            except (EngineRestart, OutageError) as error:
                self._observer.aborted(type(error).__name__, str(error))
                self._observer.ready(False, str(error))
                if isinstance(error, OutageError) and self._clock.monotonic() - self._healthy_at > deadline:
                    raise
                if isinstance(error, MemberFenced | ProducerFenced):
                    self._bear_fencing(error)
            if self._healthy_at >= tried_at:
                backoff = _FIRST_BACKOFF_SECONDS
            self._clock.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)
        return None

    def _bear_fencing(self, error: MemberFenced | ProducerFenced) -> None:
        """Take a few fencings for lost requests of this worker's own; more of them soon after are another worker's."""
        now = self._clock.monotonic()
        recent = [at for at in self._fenced[type(error)] if now - at < _FENCED_SECONDS]
        self._fenced[type(error)] = [*recent, now]
        if len(recent) < _BORNE[type(error)]:
            return
        if isinstance(error, MemberFenced):
            raise ConfigurationError(str(error)) from error
        raise ConfigurationError(
            f"{error}. This was number {len(recent) + 1} within {_FENCED_SECONDS:g} s: another worker runs under the"
            f" instance name {self._settings.instance!r}. Give each worker its own (STREAMSERVE_INSTANCE, or"
            " --workers N)."
        ) from error

    def _incarnation(self, runtime: Runtime, loop: asyncio.AbstractEventLoop) -> None:
        """Run one engine from its start to its end, whatever ends it."""
        if self._restarting:
            self._check_topics()  # one of them may be what ended the last
        self._restarting = True
        gc.collect()  # the last one's clients, if anything still holds them
        engine = Engine(
            self._plan,
            self._settings,
            self._calls,
            self._quarantine,
            self._observer,
            self._clock,
            self._partitions,
        )
        self._engine = engine
        compiler: Compiler | None = None
        try:
            compiler = self._compiler(engine, runtime, loop)
            with _told(self._observer, "start", "opening features"):
                flow = compiler.compile()
            if self._stopping:
                engine.stop()
            else:
                engine.join()
            self._run(engine, flow)
        finally:
            self._engine = None
            if compiler is not None:
                with suppress(Exception):  # what an agent raises while it is ended no longer matters
                    compiler.close()
            engine.close()

    def _compiler(self, engine: Engine, runtime: Runtime, loop: asyncio.AbstractEventLoop) -> Compiler:
        plan = self._plan
        policies: dict[str, OnError] = {agent.name: agent.on_error for agent in plan.agents}
        policies |= {f"{DECODE}:{name}": node.on_error for name, node in plan.topics.items()}
        policies |= {f"{LATE}:{name}": "skip" for name, node in plan.topics.items() if node.late == "drop"}
        policies |= {timer.step: timer.on_error for table in plan.tables.values() for timer in table.timers}
        policy = FailurePolicy(plan.dead_letter_topic, policies, self._quarantine, self._observer)
        monitors = open_monitors(plan, runtime.models, lambda: engine.groups, self._observer)
        compiler = Compiler(plan, runtime, engine, monitors, policy, loop, self._observer, self._partitions)
        engine.attach(
            Stations(
                compiler.intakes(),
                monitors.new_states if monitors is not None else _no_states,
                States(plan, self._settings, self._clock, self._message_bytes, self._topic_ids).new,
                compiler.flush_pushes,
                Schedule(plan.timers, self._clock),
                GlobalTables(plan, self._settings, self._calls, runtime, self._partitions, self._observer),
                self.tables,
            )
        )
        return compiler

    def _run(self, engine: Engine, flow: Dataflow) -> None:
        """Run to the end; raise what ended it unless it was ``stop``."""
        try:
            run_dataflow(flow)
        except DataflowPanic as panic:
            engine.blame(panic)
        if engine.healthy:
            self._healthy_at = self._clock.monotonic()
        if engine.failure is not None:
            with translated("run the engine", self._settings.bootstrap_servers):
                raise engine.failure


def _no_states(group: Group, snapshots: Mapping[str, bytes]) -> dict[str, GroupState]:  # noqa: ARG001 - as monitors have it
    return {}


@contextmanager
def _lifespans(plan: Plan, loop: asyncio.AbstractEventLoop, observer: Observer) -> Generator[None]:
    """Run the app's lifespans around the block: started in order, ended in reverse."""
    started: list[Any] = []
    try:
        for lifespan in plan.lifespans:
            generator: Any = lifespan()
            with _told(observer, "lifespan", getattr(lifespan, "__name__", "lifespan")):
                loop.run_until_complete(anext(generator))
            started.append(generator)
        yield
    finally:
        with _told(observer, "lifespan", "the end"):
            for generator in reversed(started):
                loop.run_until_complete(anext(generator, None))


@contextmanager
def _told(observer: Observer, kind: str, name: str) -> Generator[None]:
    """Tell ``observer`` what the block does."""
    observer.entered(kind, name)
    try:
        yield
    finally:
        observer.left()


@contextmanager
def _frozen_garbage() -> Generator[None]:
    """Take Python's collector out of the hot path: the engine collects between commits.

    With batches of thousands of objects it costs up to 40 % of throughput.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
