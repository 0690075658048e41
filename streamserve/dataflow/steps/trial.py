"""Builds an agent's operators on a dataflow that never runs, to see whether they may be part of an agent."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
from bytewax.dataflow import Dataflow
from bytewax.dataflow import Stream as BytewaxStream
from bytewax.testing import TestingSource

from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.steps.operators import check_operators
from streamserve.errors import PlanError


def try_operators(node: AgentNode) -> list[str]:
    """Build the operators of ``node`` and return their step ids; its function is called once, on an empty stream.

    Raises:
        PlanError: it uses operators that cannot be part of an agent, or returns no stream.
    """
    if node.function is None:
        raise AssertionError("a dataflow agent has a function")
    flow = Dataflow("trial")
    nothing: list[Any] = []
    records: BytewaxStream[Any] = op.input("records", flow, TestingSource(nothing))
    before = len(flow.substeps)
    outputs: Any = node.function(records)
    if not isinstance(outputs, BytewaxStream):
        raise PlanError(f"dataflow {node.name!r} must return a Bytewax stream, not {type(outputs).__name__}")
    check_operators(flow, before, node.name)
    return [operator.step_id.rpartition(".")[2] for operator in flow.substeps[before:]]
