"""Why an incarnation of the engine ends, and which records are suspected of it."""

from __future__ import annotations

from collections.abc import Mapping

from streamserve.dataflow.batch import RecordBatch, coordinates_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.errors import AgentError, TransactionAborted
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Origin

__all__ = ["Blame"]


class Blame:
    """Keeps the first reason, and tells the quarantine what the next incarnation has to look at closely.

    ``groups`` are the engine's, as they stand.
    """

    def __init__(self, plan: Plan, quarantine: Quarantine, groups: Mapping[GroupKey, Group]) -> None:
        self._operators = [agent for part in plan.parts for agent in part.agents if agent.kind == "dataflow"]
        self._quarantine = quarantine
        self._groups = groups
        self.failure: BaseException | None = None
        """Why the incarnation ends, ``None`` as long as it does not."""

    def fail(self, error: BaseException) -> None:
        """End the incarnation for ``error``; the first reason counts."""
        self.failure = self.failure or error
        if self._quarantine.careful:
            self._quarantine.suspect(self.positions())

    def positions(self) -> dict[TopicPartitionKey, int]:
        """Return the next offsets of everything that is owned."""
        return {key: offset for group in self._groups.values() for key, offset in group.positions.items()}

    def operators_raised(self, panic: Exception, current: RecordBatch | None) -> None:
        """Note that user operators raised at ``current``: learn which record it was, then set it aside.

        The next incarnation takes one record at a time, so that its next failure names its record.
        """
        self.fail(TransactionAborted(f"an operator raised: {_cause(panic)}"))
        if not self._quarantine.one_by_one:
            self._quarantine.one_by_one = True
            self._quarantine.suspect(self.positions())
        elif current is not None and len(current) == 1:
            at = coordinates_of(current.records[0])
            for agent in self._operators:
                if at.topic in agent.sources:
                    error = AgentError(f"dataflow {agent.name!r} raised {_cause(panic)}")
                    self._quarantine.refused[Origin(agent.name, at)] = error
            self._quarantine.one_by_one = False


def _cause(error: BaseException) -> str:
    """Return the class name of the innermost cause of ``error``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
