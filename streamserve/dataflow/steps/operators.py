"""Agents written in raw Bytewax operators: records in, outputs out, stateless in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
from bytewax.dataflow import Dataflow, Operator
from bytewax.dataflow import Stream as BytewaxStream

from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.faults import agent_error
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import EncodeError, PlanError, TransactionAborted
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Coordinates, Emission, Origin

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
    """Gives the records of a batch to user operators, those known to be at fault left out.

    The records and the failures of a batch are asked for on two branches, in any order; ``entered`` is told of the
    batch before its records go to the operators.
    """

    def __init__(
        self,
        node: AgentNode,
        record_of: Callable[[RecordBatch, int], Any],
        policy: FailurePolicy,
        entered: Callable[[RecordBatch], None],
    ) -> None:
        self._node = node
        self._entered = entered
        self._sources = frozenset(node.sources)
        self._record_of = record_of
        self._policy = policy
        self._sorted: tuple[RecordBatch | None, list[Any], list[Failure]] = (None, [], [])

    def records(self, batch: RecordBatch | None) -> list[Any]:
        """Return the batch's records for the agent; none after a failure, which hands on no batch."""
        if batch is None:
            return []
        records = self._sort(batch)[0]
        if records:
            self._entered(batch)
        return records

    def failures(self, batch: RecordBatch) -> StepOutput:
        """Return the dead letters of the records left out."""
        return self._policy.settle(StepOutput(self._node.name, failures=self._sort(batch)[1]))

    def _sort(self, batch: RecordBatch) -> tuple[list[Any], list[Failure]]:
        if self._sorted[0] is not batch:
            selected = batch.select(self._sources)
            refused = self._policy.refused(self._node.name, selected)
            if refused:
                self._policy.quarantine.one_by_one = False  # it was for the sake of these
            self._sorted = (batch, *self._read(selected, refused))
        return self._sorted[1], self._sorted[2]

    def _read(self, batch: RecordBatch, refused: Mapping[Coordinates, Failure]) -> tuple[list[Any], list[Failure]]:
        """Return the records, and the failures of those that are refused or cannot be read."""
        records: list[Any] = []
        failures = list(refused.values())
        for row, raw in enumerate(batch.records):
            if refused and coordinates_of(raw) in refused:
                continue
            try:
                records.append(self._record_of(batch, row))
            except Exception as raised:
                failures.append(Failure(raw, agent_error(self._node.name, raised)))
        return records, failures


class EncodeStep:
    """Encodes what user operators give out.

    Which record an output came from is known only while records are taken one at a time: an output that does not
    encode, or that the broker refuses, makes the next incarnation do so. ``current`` is the batch in the dataflow.
    """

    def __init__(
        self,
        node: AgentNode,
        writer: TopicWriter,
        quarantine: Quarantine,
        current: Callable[[], RecordBatch | None],
    ) -> None:
        self._node = node
        self._writer = writer
        self._quarantine = quarantine
        self._current = current
        quarantine.one_by_one |= quarantine.careful

    def __call__(self, value: Any) -> StepOutput:
        """Return one message.

        Raises:
            TransactionAborted: the value does not fit the topic; its record becomes a dead letter when it comes again.
        """
        payloads, keys = self._writer.encode([value])
        at = self._only_record()
        if isinstance(payloads[0], EncodeError):
            self._quarantine.one_by_one = at is None
            if at is not None:
                self._quarantine.refused[Origin(self._node.name, at)] = payloads[0]
            raise TransactionAborted(f"dataflow {self._node.name!r}: {payloads[0]}")
        return StepOutput(self._node.name, messages=[(Emission(self._writer.topic, payloads[0], keys[0]), at)])

    def _only_record(self) -> Coordinates | None:
        batch = self._current()
        return coordinates_of(batch.records[0]) if batch is not None and len(batch) == 1 else None


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
