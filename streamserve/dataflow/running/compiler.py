"""From a plan to one Bytewax dataflow: one source step, one branch per agent, one sink.

    kafka ─┬─▶ part ─▶ pushes ─┬─▶ agent ─┬─▶ kafka_out
           │                   └─▶ agent ─┤
           └─▶ timers ────────────────────┘

Items are whole batches. What a step raises is kept for the engine instead of becoming a panic inside Bytewax.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
from bytewax.dataflow import Dataflow, Stream
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main  # pyright: ignore[reportUnknownVariableType] - untyped in bytewax

from streamserve.dataflow.arriving.intake import Intake, TopicReader
from streamserve.dataflow.batch import DueTimers, InAgent, RecordBatch, StepOutput, Tick
from streamserve.dataflow.planning.joining import topics_read
from streamserve.dataflow.planning.nodes import AgentNode, PushNode, WindowNode
from streamserve.dataflow.planning.plan import Part, Plan
from streamserve.dataflow.running.agent_steps import AgentSteps
from streamserve.dataflow.running.answers import Answers
from streamserve.dataflow.running.engine import Engine, Item
from streamserve.dataflow.running.guard import Guard
from streamserve.dataflow.runtime import Runtime
from streamserve.dataflow.steps import operators
from streamserve.dataflow.steps.agents import AgentStep, BatchAgentStep
from streamserve.dataflow.steps.decoding import DECODE, DecodeFailures
from streamserve.dataflow.steps.joins import JoinStep
from streamserve.dataflow.steps.labels import LabelsStep
from streamserve.dataflow.steps.monitors import Monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.pushes import PUSH, PushStep
from streamserve.dataflow.steps.regroup import RegroupStep
from streamserve.dataflow.steps.tees import tees_of
from streamserve.dataflow.steps.timers import KeyTimerStep, TimerStep
from streamserve.dataflow.steps.windows import WindowStep, WindowSteps
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.features.base import FeatureReader
from streamserve.kafka.sink import EngineSink
from streamserve.kafka.source import EngineSource
from streamserve.observer import Observer
from streamserve.records import RawRecord


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
        self._plan = plan
        self._runtime = runtime
        self._engine = engine
        self._policy = policy
        self._loop = loop
        self._clock = engine.clock
        self._observer = observer
        self._partitions = partitions
        self._guarded = Guard(engine, observer)
        self._writers = {name: TopicWriter(name, runtime.codecs[name], runtime.keys[name]) for name in plan.topics}
        self._answers = Answers(plan, runtime, engine, observer)
        self._agents = AgentSteps(plan, runtime, self._answers, self._writers, monitors, policy, loop)

    def compile(self) -> Dataflow:
        """Return the dataflow; features and models answer from now on.

        Raises:
            ConfigurationError: a feature repository does not open, or an agent's operators are refused.
        """
        self._answers.bind()
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
        self._answers.flush_pushes()

    def close(self) -> None:
        """End all instances and let go of feature readers; what they raise no longer matters."""
        self._agents.close()
        self._answers.close()

    def _intake(self, part: Part) -> Intake:
        plan = self._plan
        shown, labelled = self._shown_topics(part), plan.labelled_topics(part)
        needs_time = bool(part.holds(plan.topics) or part.states or plan.fed_by(part) or plan.monitors or plan.features)
        readers = {
            topic: TopicReader(
                plan.topics[topic],
                self._runtime.codecs[topic],
                for_user_code=topic in shown or topic in labelled,
                needs_time=needs_time or plan.topics[topic].max_future_ms is not None,
            )
            for topic in part.topics
        }
        return Intake(part, readers, self._partitions)

    def _shown_topics(self, part: Part) -> set[str]:
        """Return the topics whose events user code of ``part`` sees."""
        agents = [agent for agent in part.agents if self._agents.shows_events(agent)]
        return {topic for agent in agents for topic in topics_read(agent.sources, self._plan.joins)}

    def _part(self, flow: Dataflow, items: Stream[Item], part: Part) -> list[Stream[Any]]:
        batches: Stream[Any] = op.filter(
            f"{part.name}", items, lambda item: isinstance(item, RecordBatch) and item.part == part.name
        )
        ends = [self._failures(batches, part)]
        if part.windows:
            batches, results = self._windows(batches, part)
            ends.append(results)
        ends += [self._regroup(batches, RegroupStep(node)) for node in self._plan.regrouped_from(part)]
        pushes = self._pushes_from(part)
        if pushes:
            batches, failures = self._pushes(batches, part, PushStep(pushes))
            ends.append(failures)
        ends += [self._labels(batches, name) for name in part.labels]
        pairs = {name: self._joined(batches, name) for name in part.joins}
        ends.extend(
            end for agent in part.agents for end in self._agent(flow, pairs.get(agent.sources[0], batches), agent)
        )
        return ends

    def _failures(self, batches: Stream[Any], part: Part) -> Stream[Any]:
        return op.map(f"{part.name}_{DECODE}", batches, self._guarded(DecodeFailures(self._plan, self._policy), DECODE))

    def _windows(self, batches: Stream[Any], part: Part) -> tuple[Stream[Any], Stream[Any]]:
        """Return the batches that the windows have taken in, and the windows' results."""
        name = f"{part.name}_windows"
        windows = WindowSteps([self._window(self._plan.windows[each]) for each in part.windows], self._policy.settle)
        taken_in: Stream[Any] = op.map(name, batches, self._guarded(windows, name))
        results = f"{part.name}_window_results"
        return taken_in, op.map(results, taken_in, self._guarded(windows.take_results, results))

    def _pushes_from(self, part: Part) -> list[tuple[PushNode, FeatureReader]]:
        """Return what the topics of ``part`` push, and where to."""
        readers = self._answers.readers
        return [
            (push, readers[node.service])
            for node in self._plan.features.values()
            for push in node.pushes
            if push.topic in part.topics
        ]

    def _pushes(self, batches: Stream[Any], part: Part, push: PushStep) -> tuple[Stream[Any], Stream[Any]]:
        """Return the batches whose events were pushed, and what could not be."""
        pushed: Stream[Any] = op.map(f"{part.name}_pushes", batches, self._guarded(push, PUSH))

        def settle(_: RecordBatch) -> StepOutput:
            outputs = [self._policy.settle(output) for output in push.take_failures()]
            return StepOutput(PUSH, messages=[message for output in outputs for message in output.messages])

        return pushed, op.map(f"{part.name}_push_failures", pushed, self._guarded(settle, PUSH))

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

    def _agent(self, flow: Dataflow, batches: Stream[Any], node: AgentNode) -> list[Stream[Any]]:
        if node.kind == "dataflow":
            return self._operators(flow, batches, node)
        step, tees = self._agents.step(node), tees_of(node, self._plan, self._answers.scorers)
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

    def _operators(self, flow: Dataflow, batches: Stream[Any], node: AgentNode) -> list[Stream[Any]]:
        if node.to is None:
            raise AssertionError("a dataflow agent has an output topic")
        entered = partial(self._observer.entered, "agent", node.name)  # until the next turn: nobody sees their end
        records = operators.RecordsStep(node, self._agents.view, self._policy, entered)
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

    def _write(self, output: StepOutput | None) -> None:
        if output is not None:
            self._engine.write(output)


def _nobody() -> Sequence[RawRecord]:
    """Return that no record runs by itself: the whole batch does."""
    return ()
