"""Copies predictions to the internal topics from which the app's labels take them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

from streamserve.dataflow.arriving.channels import headers_from
from streamserve.dataflow.batch import Cause, InputRows, OutputColumns, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.lineage import HEADER, Lineage
from streamserve.dataflow.planning.nodes import AgentNode, ModelNode, TeeNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.references import used_nodes
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.errors import ConfigurationError
from streamserve.records import Emission

_HeadersOf: TypeAlias = Callable[[int], list[tuple[str, bytes | None]]]
"""Gives the headers of a copy by its input's partition."""

_FIRST_MS = 1
"""Kafka takes no earlier timestamp: 0 is the client's word for now."""


class Tees:
    """Adds to what an agent made of a batch a copy of each prediction, key and bytes the same.

    A copy's timestamp is the event time of the record that the prediction was made for; its headers say which
    partition that came from, and which model answered, where ``lineage`` knows.

    Raises (when called):
        ConfigurationError: the agent writes to one of the topics ``unseen``, which it was not known to write.
    """

    def __init__(
        self, step: str, tees: Sequence[TeeNode], unseen: Collection[str], lineage: Callable[[], Lineage | None]
    ) -> None:
        self._step = step
        self._unseen = frozenset(unseen)
        self._tees: dict[str, list[str]] = {}
        for tee in tees:
            self._tees.setdefault(tee.predictions, []).append(tee.topic)
        self._lineage = lineage

    def __call__(self, output: StepOutput, batch: RecordBatch) -> StepOutput:
        """Return ``output``, which ``batch`` came to, with the copies."""
        headers = self._headers()
        copies = [copy for columns in output.columns for copy in self._column_copies(columns, headers)]
        sent = [(emission, origin) for emission, origin in output.messages if emission.topic in self._tees]
        if self._unseen:
            self._refuse_unseen(output)
        output.columns += copies
        output.messages += self._sent_copies(sent, batch, headers) if sent else ()
        return output

    def _headers(self) -> _HeadersOf:
        """Return what gives the headers of copies by their inputs' partition; those of one are one object."""
        lineage = self._lineage()
        own = () if lineage is None else ((HEADER, lineage.encode()),)

        @cache
        def headers_of(partition: int) -> list[tuple[str, bytes | None]]:
            return list(headers_from(partition, own))

        return headers_of

    def _column_copies(self, columns: OutputColumns, headers: _HeadersOf) -> list[OutputColumns]:
        topics = self._tees.get(columns.topic)
        if topics is None:
            return []
        inputs = columns.origins
        stamped = replace(
            columns,
            timestamps_ms=[max(time_ms, _FIRST_MS) for time_ms in inputs.times_ms()],
            headers=list(map(headers, inputs.partitions())),
        )
        return [replace(stamped, topic=topic) for topic in topics]

    def _sent_copies(
        self,
        sent: Sequence[tuple[Emission, Cause]],
        batch: RecordBatch,
        headers: _HeadersOf,
    ) -> list[tuple[Emission, Cause]]:
        rows: Mapping[Cause, int] = {coordinates_of(it): row for row, it in enumerate(batch.records)}
        inputs = InputRows(batch, [rows[origin] for _, origin in sent])
        return [
            (replace(it, topic=topic, headers=tuple(headers(place)), timestamp_ms=max(time_ms, _FIRST_MS)), origin)
            for (it, origin), place, time_ms in zip(sent, inputs.partitions(), inputs.times_ms(), strict=True)
            for topic in self._tees[it.topic]
        ]

    def _refuse_unseen(self, output: StepOutput) -> None:
        for topic in (*(columns.topic for columns in output.columns), *(it.topic for it, _ in output.messages)):
            if topic in self._unseen:
                raise ConfigurationError(
                    f"agent {self._step!r} writes to topic {topic!r}, whose predictions wait for labels, but does not"
                    f" mention it: give it to=, or let the agent's function name the topic"
                )


def tees_of(agent: AgentNode, plan: Plan, scorers: Mapping[str, ModelScorer]) -> Tees | None:
    """Return what copies the predictions of ``agent``, or ``None`` where no labels are awaited."""
    awaited = {node.predictions for node in plan.labels.values()}
    if not awaited:
        return None
    tees = next(plan.tees_of(part) for part in plan.parts if agent in part.agents)
    return Tees(agent.name, tees, awaited - {tee.predictions for tee in tees}, _lineage_of(agent, scorers))


def _lineage_of(agent: AgentNode, scorers: Mapping[str, ModelScorer]) -> Callable[[], Lineage | None]:
    """Return what tells which version answers ``agent`` just now, where it asks one model only."""
    names = {agent.model} if agent.model is not None else {it.name for it in used_nodes(agent.function, ModelNode)}
    asked = [scorers[name] for name in names if name in scorers]
    if len(names) != 1 or not asked:
        return lambda: None
    return lambda: Lineage(asked[0].runner.name, asked[0].runner.version, "champion")
