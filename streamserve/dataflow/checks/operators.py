"""Agents made of raw Bytewax operators, built on a dataflow that never runs."""

from __future__ import annotations

from collections.abc import Iterator

from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.names import steps_of
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.steps.trial import try_operators
from streamserve.errors import PlanError

__all__ = ["problems"]


def problems(known: Known) -> Iterator[Problem]:
    """Yield why the operators of each ``@app.dataflow`` agent cannot be part of it."""
    taken = dict(steps_of(known.plan))
    for agent in known.plan.agents:
        if agent.kind != "dataflow":
            continue
        where = f"agent {agent.name!r}"
        try:
            for step in try_operators(agent):
                if step in taken:
                    what = f"has an operator {step!r}, which is the name of a step of {taken[step]}"
                    yield Problem(where, what, "give the operator another step id")
                taken.setdefault(step, where)
        except PlanError as error:
            yield Problem(where, str(error), "keep to stateless operators, from the given stream to the returned one")
        except Exception as error:
            what = f"raised {type(error).__name__} while its operators were built: {error}"
            yield Problem(where, what, "the function gets a stream and returns one; it runs before any record")
