"""From a plan to one Bytewax dataflow: one source step, one branch per agent, one sink.

    kafka ─┬─▶ part ─▶ pushes ─┬─▶ agent ─┬─▶ kafka_out
           │                   └─▶ agent ─┤
           └─▶ timers ────────────────────┘

Items are whole batches. What a step raises is kept for the engine instead of becoming a panic inside Bytewax.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
from bytewax.dataflow import Dataflow, Stream
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main  # pyright: ignore[reportUnknownVariableType] - untyped in bytewax

from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.arriving.intake import Intake, TopicReader
from streamserve.dataflow.batch import DueTimers, InAgent, RecordBatch, StepOutput, Tick, coordinates_of
from streamserve.dataflow.driving.driver import AgentDriver, HandDriver
from streamserve.dataflow.driving.io_driver import IoDriver
from streamserve.dataflow.driving.views import PairView, RecordView
from streamserve.dataflow.planning.joining import topics_read
from streamserve.dataflow.planning.plan import AgentNode, Part, Plan, WindowNode
from streamserve.dataflow.running.engine import Engine, Item
from streamserve.dataflow.runtime import Runtime
from streamserve.dataflow.steps import operators
from streamserve.dataflow.steps.agents import AgentStep, BatchAgentStep, Side
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.joins import JoinStep
from streamserve.dataflow.steps.labels import LabelsStep
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.dataflow.steps.monitors import Monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.pushes import PUSH, PushStep
from streamserve.dataflow.steps.regroup import RegroupStep
from streamserve.dataflow.steps.score import LINEAGE, BuiltScoreStep, FilledObjects, FilledScoreStep, Scorer
from streamserve.dataflow.steps.tables import TableAccess, WindowAccess
from streamserve.dataflow.steps.tees import tees_of
from streamserve.dataflow.steps.timers import KeyTimerStep, TimerStep
from streamserve.dataflow.steps.windows import WindowStep, WindowSteps
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import FutureRecord, LateRecord, PlanError
from streamserve.features.base import FeatureReader
from streamserve.kafka.dead_letters import forwarded
from streamserve.kafka.sink import EngineSink
from streamserve.kafka.source import EngineSource
from streamserve.observer import Observer
from streamserve.records import Located, RawRecord

X = TypeVar("X")
Y = TypeVar("Y")

DECODE = "decode"
"""The step that dead-letters what does not decode."""

LATE = "late"
"""The step that sets aside what comes too late for a topic that takes no late records, or from the future."""


class DataflowPanic(Exception):
    """An operator of the user's raised inside Bytewax."""


def run_dataflow(flow: Dataflow) -> None:
    """Run ``flow`` in this thread until its source ends it.

    Raises:
        DataflowPanic: an operator raised; engine steps never do.
    """
    try:
        run_main(flow)
    except (BytewaxRuntimeError, RuntimeError) as error:
        raise DataflowPanic(str(error)) from error


class Compiler:
    """Builds the dataflow of one incarnation and what goes with it.

    ``close`` ends agents' instances and lets go of feature readers.
    """

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        engine: Engine,
        monitors: Monitors | None,
        policy: FailurePolicy,
        loop: asyncio.AbstractEventLoop,
        observer: Observer,
        partitions: Mapping[str, int],
    ) -> None:
        self._partitions = partitions
        self._plan = plan
        self._runtime = runtime
        self._engine = engine
        self._monitors = monitors
        self._policy = policy
        self._loop = loop
        self._clock = engine.clock
        self._observer = observer
        self._view = RecordView(plan.topics, runtime.keys)
        self._writers = {name: TopicWriter(name, runtime.codecs[name], runtime.keys[name]) for name in plan.topics}
        self._drivers: list[AgentDriver] = []
        self._readers: dict[str, FeatureReader] = {}
        self._joins: dict[str, FeatureJoin] = {}
        self._scorers: dict[str, ModelScorer] = {}

    def compile(self) -> Dataflow:
        """Return the dataflow; features and models answer from now on.

        Raises:
            ConfigurationError: a feature repository does not open, or an agent's operators are refused.
        """
        self._bind()
        flow = Dataflow(self._plan.app.replace(".", "_"))
        items: Stream[Item] = op.input("kafka", flow, EngineSource(self._engine.guarded_turn, self._engine.fail))
        ends = [end for part in self._plan.parts for end in self._part(flow, items, part)]
        if self._plan.timers:
            ends.append(self._timers(items))
        if any(table.timers for table in self._plan.tables.values()):
            ends.append(self._key_timers(items))
        merged: Stream[Any] = op.merge("outputs", *ends)
        op.output("kafka_out", merged, EngineSink(self._guarded(self._write, "kafka_out")))
        return flow

    def intakes(self) -> Mapping[str, Intake]:
        """Return the intake of each part."""
        return {part.name: self._intake(part) for part in self._plan.parts}

    def flush_pushes(self) -> None:
        """Write what was pushed to the online stores."""
        for name, reader in self._readers.items():
            self._observer.entered("pushes", name)
            try:
                reader.flush_pushes()
            finally:
                self._observer.left()

    def _bind(self) -> None:
        """Open feature readers and connect what agents ask to what answers."""
        for name, node in self._plan.features.items():
            self._readers[name] = self._runtime.open_readers[name]()
            self._joins[name] = FeatureJoin(node, self._readers[name], self._plan.features_topic, self._observer)
            node.binding.runtime = self._joins[name]
        for name, node in self._plan.models.items():
            observed = self._plan.monitor_of(name) is not None
            self._scorers[name] = ModelScorer(
                node, self._runtime.models[name].runner, self._observer, observed=observed
            )
            node.binding.runtime = self._scorers[name]
        for table in self._plan.tables.values():
            table.binding.runtime = TableAccess(table, lambda: self._engine.groups, self._clock)
        for window in self._plan.windows.values():
            window.binding.runtime = WindowAccess(window)

    def _intake(self, part: Part) -> Intake:
        needs_time = bool(part.holds(self._plan.topics) or part.states or self._plan.fed_by(part)) or bool(
            self._plan.monitors or self._plan.features
        )
        readers = {
            topic: TopicReader(
                self._plan.topics[topic],
                self._runtime.codecs[topic],
                for_user_code=topic in self._plan.labelled_topics(part)
                or any(
                    self._shows_events(agent)
                    for agent in part.agents
                    if topic in topics_read(agent.sources, self._plan.joins)
                ),
                needs_time=needs_time or self._plan.topics[topic].max_future_ms is not None,
            )
            for topic in part.topics
        }
        return Intake(part, readers, self._partitions)

    def _shows_events(self, agent: AgentNode) -> bool:
        """Return whether user code sees the events of ``agent``."""
        return agent.kind != "score" or agent.function is not None or not self._fills(agent)

    # --- branches -----------------------------------------------------------------------------------------------

    def _part(self, flow: Dataflow, items: Stream[Item], part: Part) -> list[Stream[Any]]:
        batches: Stream[Any] = op.filter(
            f"{part.name}", items, lambda item: isinstance(item, RecordBatch) and item.part == part.name
        )
        failures = op.map(f"{part.name}_{DECODE}", batches, self._guarded(self._decode_failures, DECODE))
        pushes = [
            (push, self._readers[node.service])
            for node in self._plan.features.values()
            for push in node.pushes
            if push.topic in part.topics
        ]
        ends = [failures]
        if part.windows:
            steps = [self._window(self._plan.windows[name]) for name in part.windows]
            windows = WindowSteps(steps, self._policy.settle)
            batches = op.map(f"{part.name}_windows", batches, self._guarded(windows, f"{part.name}_windows"))
            results = self._guarded(windows.take_results, f"{part.name}_window_results")
            ends.append(op.map(f"{part.name}_window_results", batches, results))
        ends += [self._regroup(batches, RegroupStep(node)) for node in self._plan.regrouped_from(part)]
        if pushes:
            push = PushStep(pushes)
            batches = op.map(f"{part.name}_pushes", batches, self._guarded(push, PUSH))
            settled = self._guarded(self._push_failures(push), PUSH)
            ends.append(op.map(f"{part.name}_push_failures", batches, settled))
        ends += [self._labels(batches, name) for name in part.labels]
        pairs = {name: self._joined(batches, name) for name in part.joins}
        ends.extend(
            end for agent in part.agents for end in self._agent(flow, pairs.get(agent.sources[0], batches), agent)
        )
        return ends

    def _joined(self, batches: Stream[Any], name: str) -> Stream[Any]:
        step = JoinStep(self._plan.joins[name], self._runtime.codecs, lambda: self._engine.groups)
        join = self._guarded(step, step.name)
        return op.flat_map(step.name, batches, lambda batch: join(batch) or ())

    def _labels(self, batches: Stream[Any], name: str) -> Stream[Any]:
        plan, policy = self._plan, self._policy
        step = LabelsStep(
            plan.labels[name], plan.performance_topic, lambda: self._engine.groups, policy.refused, self._observer
        )
        return op.map(step.id, batches, self._guarded(lambda batch: policy.settle(step(batch), batch), step.id))

    def _regroup(self, batches: Stream[Any], step: RegroupStep) -> Stream[Any]:
        policy = self._policy
        return op.map(step.name, batches, self._guarded(lambda batch: policy.settle(step(batch), batch), step.name))

    def _window(self, node: WindowNode) -> WindowStep:
        key = self._plan.topics[node.source].key
        return WindowStep(
            node,
            lambda: self._engine.groups,
            self._writers[node.to] if node.to is not None else None,
            key if isinstance(key, str) else None,
            self._observer,
            self._policy.quarantine.refuses_result,
        )

    def _decode_failures(self, batch: RecordBatch) -> StepOutput | None:
        if not batch.failures:
            return None
        by_step: dict[str, StepOutput] = {}
        whole = StepOutput(DECODE)
        for failure in batch.failures:
            topic = failure.record.topic() or ""
            is_late = isinstance(failure.error, LateRecord | FutureRecord)
            if is_late and (side := self._plan.side_topic(topic)) is not None:
                whole.messages.append((forwarded(failure.record, side), coordinates_of(failure.record)))
                continue
            step = f"{LATE if is_late else DECODE}:{topic}"
            by_step.setdefault(step, StepOutput(step)).failures.append(failure)
        for output in by_step.values():
            whole.messages.extend(self._policy.settle(output).messages)
        return whole

    def _push_failures(self, push: PushStep) -> Callable[[RecordBatch], StepOutput | None]:
        def settle(_: RecordBatch) -> StepOutput | None:
            outputs = [self._policy.settle(output) for output in push.take_failures()]
            return StepOutput(PUSH, messages=[message for output in outputs for message in output.messages])

        return settle

    def _agent(self, flow: Dataflow, batches: Stream[Any], node: AgentNode) -> list[Stream[Any]]:
        if node.kind == "dataflow":
            return self._operators(flow, batches, node)
        step, tees = self._step(node), tees_of(node, self._plan, self._scorers)
        running = step.running if isinstance(step, AgentStep | BatchAgentStep) else _nobody

        def settle(batch: RecordBatch) -> StepOutput:
            started = self._clock.monotonic()
            taken = self._policy.sifted(node.name, batch) if node.kind == "score" else batch  # agents sift themselves
            output = self._policy.settle(step(taken), batch)
            if tees is not None:
                output = tees(output, batch)
            self._observer.processed(node.name, len(batch), self._clock.monotonic() - started)
            return output

        at = partial(InAgent, running=running)
        return [op.map(node.name, batches, self._guarded(settle, node.name, kind="agent", at=at))]

    def _step(self, node: AgentNode) -> Callable[[RecordBatch], StepOutput]:
        side = Side(list(self._joins.values()), list(self._scorers.values()), self._monitors, self._policy.refused)
        outcomes = OutcomeWriter(node.name, node.outputs, self._writers)
        if node.kind == "batch":
            return BatchAgentStep(node, self._view_of(node), outcomes, side, self._policy)
        if node.kind == "agent":
            return AgentStep(node, self._driver(node), outcomes, side, self._policy)
        return self._score(node, outcomes, side)

    def _score(self, node: AgentNode, outcomes: OutcomeWriter, side: Side) -> Callable[[RecordBatch], StepOutput]:
        if node.model is None or node.to is None:
            raise AssertionError("a score agent has a model and an output topic")
        join = self._joins[node.features] if node.features is not None else None
        scorer = Scorer(node, join, self._scorers[node.model])
        self._check_names(node, scorer, self._writers[node.to])
        if node.function is not None:
            return BuiltScoreStep(node, scorer, node.function, outcomes, side)
        writer, key = self._writers[node.to], self._plan.topics[node.to].key
        if not self._fills(node):
            filled = FilledObjects(writer.codec.value_type, tuple(writer.codec.fields))
            return BuiltScoreStep(node, scorer, filled, outcomes, side)
        encoder = row_encoder(writer.codec)
        return FilledScoreStep(
            node, scorer, writer, encoder=encoder, key_field=key if isinstance(key, str) else None, side=side
        )

    def _check_names(self, node: AgentNode, scorer: Scorer, writer: TopicWriter) -> None:
        """Raise ``PlanError`` if an input of the model, or a field to fill, is nowhere to be found."""
        event = self._runtime.codecs[node.sources[0]].fields.keys()
        if lacking := scorer.model.runner.inputs.keys() - scorer.features - event:
            raise PlanError(
                f"score {node.name!r}: neither the event nor the features have the inputs {sorted(lacking)} of model"
                f" {node.model!r}; an agent can compute them"
            )
        offered = {*scorer.model.runner.outputs, *LINEAGE, *event}
        if node.function is None and (lacking := writer.codec.fields.keys() - offered):
            raise PlanError(
                f"score {node.name!r}: fields {sorted(lacking)} of topic {writer.topic!r} are in neither the"
                " prediction, its lineage nor the event: build the result with output="
            )

    def _fills(self, node: AgentNode) -> bool:
        """Return whether outputs can be filled column by column: their key must be one of their fields."""
        return node.to is not None and not callable(self._plan.topics[node.to].key)

    def _driver(self, node: AgentNode) -> AgentDriver:
        if node.function is None:
            raise AssertionError("an agent has a function")
        yields = inspect.isasyncgenfunction(inspect.unwrap(node.function))
        start = partial(node.function, scoped=True) if node.is_scoped else node.function
        make = partial(IoDriver, loop=self._loop) if node.io else HandDriver
        driver: AgentDriver = make(
            node.name,
            start,
            yields=yields,
            ordering=node.ordering,
            record_of=self._view_of(node),
            scoped=node.is_scoped,
        )
        self._drivers.append(driver)
        return driver

    def _view_of(self, node: AgentNode) -> Callable[[RecordBatch, int], Any]:
        """Return what shows ``node`` a record: of a topic, or of a pair."""
        join = self._plan.joins.get(node.sources[0])
        return self._view if join is None else PairView(join, self._view)

    def _operators(self, flow: Dataflow, batches: Stream[Any], node: AgentNode) -> list[Stream[Any]]:
        if node.to is None:
            raise AssertionError("a dataflow agent has an output topic")
        entered = partial(self._observer.entered, "agent", node.name)  # until the next turn: nobody sees their end
        records = operators.RecordsStep(node, self._view, self._policy, entered)
        encode = self._guarded(
            operators.EncodeStep(node, self._writers[node.to], self._policy.quarantine, lambda: self._engine.current),
            node.name,
        )
        return operators.build(flow, batches, node, records, encode)

    def _timers(self, items: Stream[Item]) -> Stream[Any]:
        ticks: Stream[Any] = op.filter("ticks", items, lambda item: isinstance(item, Tick))
        timers = {timer.name: timer for timer in self._plan.timers}
        return op.map("timers", ticks, self._guarded(TimerStep(timers, self._writers, self._loop), "timers"))

    def _key_timers(self, items: Stream[Item]) -> Stream[Any]:
        due: Stream[Any] = op.filter("due", items, lambda item: isinstance(item, DueTimers))
        step = KeyTimerStep(self._plan.tables, self._writers, self._loop, self._policy.quarantine.refuses_result)
        return op.map("table_timers", due, self._guarded(lambda due: self._policy.settle(step(due)), "table_timers"))

    # --- the end ------------------------------------------------------------------------------------------------

    def _write(self, output: StepOutput | None) -> None:
        if output is not None:
            self._engine.write(output)

    def _guarded(
        self,
        step: Callable[[X], Y],
        name: str,
        *,
        kind: str = "step",
        at: Callable[[X], Located | None] | None = None,
    ) -> Callable[[X], Y | None]:
        """Keep what ``step`` raises for the engine; after a failure nothing runs any more.

        The observer is told by ``kind`` and ``name`` what runs, and by ``at`` where the records stand.
        """
        observer, locate = self._observer, at or _place_of

        def run(item: X) -> Y | None:
            if item is None or self._engine.failed:
                return None
            observer.entered(kind, name, locate(item))
            try:
                return step(item)
            except BaseException as error:
                self._engine.fail(error)
                return None
            finally:
                observer.left()

        return run

    def close(self) -> None:
        """End all instances and let go of feature readers; what they raise no longer matters."""
        for driver in self._drivers:
            driver.close()
        for reader in self._readers.values():
            reader.close()
        plan = self._plan
        nodes = (plan.features.values(), plan.models.values(), plan.tables.values(), plan.windows.values())
        for node in chain.from_iterable(nodes):
            node.binding.runtime = None


def _place_of(item: object) -> Located | None:
    """Return what can say where the records of ``item`` stand, if it has any."""
    return item if isinstance(item, RecordBatch) else None


def _nobody() -> Sequence[RawRecord]:
    """Return that no record runs by itself: the whole batch does."""
    return ()
