"""Agents written in raw Bytewax operators: records in, outputs out, stateless in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
from bytewax.dataflow import Dataflow, Operator
from bytewax.dataflow import Stream as BytewaxStream

from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput
from streamserve.dataflow.plan import AgentNode
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, EncodeError, PlanError
from streamserve.records import Emission

REFUSED = {
    "stateful_batch": "keeps state outside the transaction: use a table",
    "redistribute": "would hand records to another worker: scale by processes",
    "input": "a second source would run ahead of the transaction: declare the topic on the agent",
    "output": "would write outside the transaction: return the stream instead",
}
"""Core operators that cannot be part of an agent, and why."""


def refused_operators(operators: list[Operator]) -> Iterator[str]:
    """Yield what is wrong with each refused operator among ``operators`` and inside them."""
    for operator in operators:
        kind = type(operator).__name__
        if kind in REFUSED:
            yield f"operator {operator.step_id!r} ({kind}) {REFUSED[kind]}"
        yield from refused_operators(operator.substeps)


def check_operators(flow: Dataflow, before: int, agent: str) -> None:
    """Raise ``PlanError`` if what was added to ``flow`` after its first ``before`` steps cannot be part of an agent."""
    problems = list(refused_operators(flow.substeps[before:]))
    if problems:
        raise PlanError(f"dataflow {agent!r}: {'; '.join(problems)}")


class RecordsStep:
    """Gives the records of a batch to user operators, those known to be at fault left out."""

    def __init__(self, node: AgentNode, record_of: Callable[[RecordBatch, int], Any], policy: FailurePolicy) -> None:
        self._node = node
        self._sources = frozenset(node.sources)
        self._record_of = record_of
        self._policy = policy

    def records(self, batch: RecordBatch) -> list[Any]:
        """Return the batch's records for the agent."""
        selected = batch.select(self._sources)
        failed = self._failed(selected)
        places = {failure.record.offset() for failure in failed}
        return [
            self._record_of(selected, row)
            for row in range(len(selected))
            if not failed or selected.records[row].offset() not in places
        ]

    def failures(self, batch: RecordBatch) -> StepOutput:
        """Return the dead letters of the records left out."""
        return self._policy.settle(StepOutput(self._node.name, failures=self._failed(batch.select(self._sources))))

    def _failed(self, batch: RecordBatch) -> list[Failure]:
        return list(self._policy.refused(self._node.name, batch).values())


class EncodeStep:
    """Encodes what user operators give out."""

    def __init__(self, node: AgentNode, writer: TopicWriter) -> None:
        self._node = node
        self._writer = writer

    def __call__(self, value: Any) -> StepOutput:
        """Return one message.

        Raises:
            ConfigurationError: the value does not fit the topic; which record it came from is not known here.
        """
        payloads, keys = self._writer.encode([value])
        if isinstance(payloads[0], EncodeError):
            raise ConfigurationError(f"dataflow {self._node.name!r}: {payloads[0]}")
        return StepOutput(self._node.name, messages=[(Emission(self._writer.topic, payloads[0], keys[0]), None)])


def build(
    flow: Dataflow,
    batches: BytewaxStream[RecordBatch],
    node: AgentNode,
    records: RecordsStep,
    encode: Callable[[Any], Any],
) -> list[BytewaxStream[Any]]:
    """Build the agent's operators behind ``batches``; return the streams of its outputs and dead letters.

    Raises:
        PlanError: it uses operators that cannot be part of an agent, or returns no stream.
    """
    if node.function is None:
        raise AssertionError("a dataflow agent has a function")
    events: BytewaxStream[Any] = op.flat_map(f"{node.name}_records", batches, records.records)
    before = len(flow.substeps)
    made: object = node.function(events)
    if not isinstance(made, BytewaxStream):
        raise PlanError(f"dataflow {node.name!r} must return a Bytewax stream, not {type(made).__name__}")
    outputs = cast("BytewaxStream[Any]", made)
    check_operators(flow, before, node.name)
    failures: BytewaxStream[Any] = op.map(f"{node.name}_failures", batches, records.failures)
    return [op.map(f"{node.name}_encode", outputs, encode), failures]
