"""The steps of agents: one event at a time, and a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias, cast

from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.driver import AgentDriver, Outcomes
from streamserve.dataflow.driving.faults import agent_error
from streamserve.dataflow.driving.scope import BatchScope, within
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.dataflow.steps.monitors import Monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.writers import OutcomeWriter
from streamserve.errors import ConfigurationError, EngineRestart, OutageError, RecordError
from streamserve.records import Coordinates, RawRecord

Refused: TypeAlias = Callable[[str, RecordBatch], Mapping[Coordinates, Failure]]
"""Gives the records of a batch that a step, by name, is known to fail on whatever it makes of them."""


class Side:
    """What accompanies every agent's outputs: logged feature rows, drift statistics and alarms.

    Of an input that ends as a dead letter nothing is logged or counted: what the agent made of it is not seen either.
    """

    def __init__(
        self,
        joins: Sequence[FeatureJoin],
        scorers: Sequence[ModelScorer],
        monitors: Monitors | None,
        refused: Refused | None = None,
    ) -> None:
        self._joins = joins
        self._scorers = scorers
        self._monitors = monitors
        self._refused = refused or _none_refused

    def look_at(self, batch: RecordBatch, rows: Sequence[int]) -> None:
        """Tell joins and models for which rows a batch agent is about to ask."""
        for target in (*self._joins, *self._scorers):
            target.look_at(batch, rows)

    def forget_look(self) -> None:
        """Tell joins and models that the rows of ``look_at`` come again."""
        for target in (*self._joins, *self._scorers):
            target.forget_look()

    def collect(self, batch: RecordBatch, output: StepOutput) -> StepOutput:
        """Add to ``output`` what joins and models have to say about the rows of ``batch`` that did not fail."""
        failures = [*output.failures, *self._refused(output.step, batch).values()]
        failed = {coordinates_of(failure.record) for failure in failures}
        for join in self._joins:
            output.messages.extend(logged for logged in join.drain(batch) if logged[1] not in failed)
        if self._monitors is not None:
            rows = _rows_of(failures, batch)
            for scorer in self._scorers:
                output.messages.extend((emission, None) for emission in self._monitors.observe(batch, scorer, rows))
        return output


def _rows_of(failures: Sequence[Failure], batch: RecordBatch) -> Collection[int]:
    """Return the rows of ``batch`` that failed; a failure holds the batch's own record."""
    if not failures:
        return ()
    failed = {id(failure.record) for failure in failures}
    return {row for row, identity in enumerate(map(id, batch.records)) if identity in failed}


def _none_refused(step: str, batch: RecordBatch) -> Mapping[Coordinates, Failure]:
    """Refuse nothing."""
    del step, batch
    return {}


class AgentStep:
    """Takes batches through an agent that sees one event at a time."""

    def __init__(
        self, node: AgentNode, driver: AgentDriver, writer: OutcomeWriter, side: Side, policy: FailurePolicy
    ) -> None:
        self._node = node
        self._sources = frozenset(node.sources)
        self._driver = driver
        self._writer = writer
        self._side = side
        self._faults = _KnownFaults(node, policy)

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return the outputs of every event in ``batch`` that the agent reads.

        Raises:
            EngineRestart: an event failed after its tables had changed; it is left out next time.
        """
        selected, refused = self._faults.sift(batch.select(self._sources))
        outcomes = self._driver.run(selected)
        return self._side.collect(selected, self._faults.write(self._writer, selected, outcomes, refused))

    def running(self) -> Sequence[RawRecord]:
        """Return the records whose events the agent works on, for another thread."""
        return self._driver.running()


class _KnownFaults:
    """Keeps from an agent the events that are known to fail on what they come to.

    So they leave nothing in its tables, nor in what it makes of a list of events.
    """

    def __init__(self, node: AgentNode, policy: FailurePolicy) -> None:
        self._node = node
        self._policy = policy

    def sift(self, batch: RecordBatch) -> tuple[RecordBatch, Collection[Failure]]:
        """Return ``batch`` without the events that are known to fail, and those."""
        refused = self._policy.refused(self._node.name, batch)
        if not refused:
            return batch, ()
        kept = [row for row, record in enumerate(batch.records) if coordinates_of(record) not in refused]
        return batch.take(kept), refused.values()

    def write(
        self, writer: OutcomeWriter, batch: RecordBatch, outcomes: Outcomes, refused: Collection[Failure]
    ) -> StepOutput:
        """Return what ``writer`` makes of ``outcomes``, with the ``refused`` events among the failures.

        Raises:
            EngineRestart: an event failed in writing, after it had changed tables; it is left out next time.
        """
        failed = set(outcomes.errors)
        output = writer.write(batch, outcomes)
        self._policy.note_lists(self._node.name, batch, outcomes.lots)
        if self._node.is_scoped and len(outcomes.errors) > len(failed):
            fresh = [Failure(batch.records[row], error) for row, error in outcomes.errors.items() if row not in failed]
            self._policy.leave_out(self._node.name, fresh)
        output.failures += refused
        return output


class BatchAgentStep:
    """Takes batches through an agent that sees a batch at a time.

    A batch whose function raises is halved until only the event at fault is left; what it wrote to tables is undone.
    With tables, a batch of which it rejects events is taken again without them.
    """

    def __init__(
        self,
        node: AgentNode,
        record_of: Callable[[RecordBatch, int], Any],
        writer: OutcomeWriter,
        side: Side,
        policy: FailurePolicy,
    ) -> None:
        self._node = node
        self._sources = frozenset(node.sources)
        self._record_of = record_of
        self._writer = writer
        self._side = side
        self._faults = _KnownFaults(node, policy)
        self._taken: Sequence[RawRecord] = ()

    def running(self) -> Sequence[RawRecord]:
        """Return the records that the agent was given last, for another thread."""
        return self._taken

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return the outputs of every event in ``batch`` that the agent reads.

        Raises:
            EngineRestart: an event failed after its tables had changed; it is left out next time.
        """
        selected, refused = self._faults.sift(batch.select(self._sources))
        outcomes = Outcomes(len(selected))
        for start in range(0, len(selected), self._node.max_size):
            self._run(selected, range(start, min(start + self._node.max_size, len(selected))), outcomes)
        self._taken = ()
        return self._side.collect(selected, self._faults.write(self._writer, selected, outcomes, refused))

    def _run(self, batch: RecordBatch, rows: Sequence[int], outcomes: Outcomes) -> None:
        if self._node.function is None:
            raise AssertionError("a batch agent has a function")
        taken = batch.take(rows)
        self._taken = taken.records
        scope = BatchScope(taken, range(len(rows)))
        self._side.look_at(batch, rows)
        try:
            with within(scope):
                results = self._node.function(
                    taken.values, lambda: list(map(self._record_of, repeat(taken), range(len(rows))))
                )
            answers = self._checked(results, len(rows))
            if scope.pending.changes and any(isinstance(answer, RecordError) for answer in answers):
                self._run_without_rejected(batch, rows, answers, outcomes)
                return
            scope.pending.commit()
        except (EngineRestart, OutageError, ConfigurationError):
            raise
        except Exception as raised:
            self._side.forget_look()
            if len(rows) == 1:
                outcomes.fail(rows[0], agent_error(self._node.name, raised))
                return
            middle = len(rows) // 2
            self._run(batch, rows[:middle], outcomes)
            self._run(batch, rows[middle:], outcomes)
            return
        _settle(rows, answers, outcomes)

    def _run_without_rejected(
        self, batch: RecordBatch, rows: Sequence[int], answers: Sequence[Any], outcomes: Outcomes
    ) -> None:
        """Fail the rows that were rejected, and take the others again: what was written to tables holds no more."""
        self._side.forget_look()
        rejected = {row: answer for row, answer in zip(rows, answers, strict=True) if isinstance(answer, RecordError)}
        _settle(list(rejected), list(rejected.values()), outcomes)
        kept = [row for row in rows if row not in rejected]
        if kept:
            self._run(batch, kept, outcomes)

    def _checked(self, results: object, rows: int) -> Sequence[Any]:
        """Return the results, of which there has to be one for each of ``rows``."""
        answers = cast("Sequence[Any]", results) if isinstance(results, Sequence) else ()
        if len(answers) != rows:
            given = f"{len(answers)} results" if isinstance(results, Sequence) else f"a {type(results).__name__}"
            raise ConfigurationError(
                f"batch agent {self._node.name!r} returned {given} for {rows} events:"
                " return one for each, None to filter, or Reject(reason)"
            )
        return answers


def _settle(rows: Sequence[int], answers: Sequence[Any], outcomes: Outcomes) -> None:
    for row, result in zip(rows, answers, strict=True):
        if isinstance(result, RecordError):
            outcomes.fail(row, result)
        elif result is not None:
            outcomes.outputs[row] = [result]
