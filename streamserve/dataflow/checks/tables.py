"""Tables: timers that are set need something to run."""

from __future__ import annotations

from collections.abc import Iterator

from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import TableNode
from streamserve.dataflow.planning.references import mentions, used_nodes
from streamserve.dataflow.steps.tables import ADD_A_HANDLER

__all__ = ["problems"]


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with the tables of a plan."""
    for agent in known.plan.agents:
        tables = used_nodes(agent.function, TableNode)
        if tables and not any(table.timers for table in tables) and mentions(agent.function, "set_timer"):
            names = " or ".join(repr(table.name) for table in tables)
            yield Problem(
                f"agent {agent.name!r}", f"sets timers of table {names}, at which nothing runs", ADD_A_HANDLER
            )
