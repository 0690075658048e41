"""From a declared agent to the step that takes batches through it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.batch import RecordBatch, StepOutput
from streamserve.dataflow.driving.driver import AgentDriver, HandDriver
from streamserve.dataflow.driving.io_driver import IoDriver
from streamserve.dataflow.driving.views import PairView, RecordView
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.running.answers import Answers
from streamserve.dataflow.runtime import Runtime
from streamserve.dataflow.steps.agents import AgentStep, BatchAgentStep, Side
from streamserve.dataflow.steps.monitors import Monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.score import LINEAGE, BuiltScoreStep, FilledObjects, FilledScoreStep, Scorer
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import PlanError


class AgentSteps:
    """Makes the steps of agents of all levels; ``close`` ends the instances that run in them."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        answers: Answers,
        writers: Mapping[str, TopicWriter],
        monitors: Monitors | None,
        policy: FailurePolicy,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.view = RecordView(plan.topics, runtime.keys)
        self._plan = plan
        self._runtime = runtime
        self._answers = answers
        self._writers = writers
        self._monitors = monitors
        self._policy = policy
        self._loop = loop
        self._drivers: list[AgentDriver] = []

    def step(self, node: AgentNode) -> Callable[[RecordBatch], StepOutput]:
        """Return what takes a batch through ``node``; it keeps to the failures that are known of before.

        Raises:
            PlanError: an input of a model, or a field to fill, is nowhere to be found.
        """
        answers = self._answers
        side = Side(list(answers.joins.values()), list(answers.scorers.values()), self._monitors, self._policy.refused)
        outcomes = OutcomeWriter(node.name, node.outputs, self._writers)
        if node.kind == "batch":
            return BatchAgentStep(node, self._view_of(node), outcomes, side, self._policy)
        if node.kind == "agent":
            return AgentStep(node, self._driver(node), outcomes, side, self._policy)
        return self._score(node, outcomes, side)

    def shows_events(self, node: AgentNode) -> bool:
        """Return whether user code sees the events of ``node``."""
        return node.kind != "score" or node.function is not None or not self._fills(node)

    def close(self) -> None:
        """End all instances; what they raise no longer matters."""
        for driver in self._drivers:
            driver.close()

    def _score(self, node: AgentNode, outcomes: OutcomeWriter, side: Side) -> Callable[[RecordBatch], StepOutput]:
        if node.model is None or node.to is None:
            raise AssertionError("a score agent has a model and an output topic")
        join = self._answers.joins[node.features] if node.features is not None else None
        scorer = Scorer(node, join, self._answers.scorers[node.model])
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
        return self.view if join is None else PairView(join, self.view)
