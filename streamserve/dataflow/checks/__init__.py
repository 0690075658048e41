"""Whether an app can work, found out without a broker: nothing is read, scored or written.

The feature repository's registry (or its definitions, where it was never applied) and the model packages are read, and
the operators of ``@app.dataflow`` are built on a dataflow that never runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamserve.dataflow.checks import features, labels, models, names, operators, scores, tables, topics
from streamserve.dataflow.checks.known import look_up
from streamserve.dataflow.checks.problem import Problem, problem_of
from streamserve.dataflow.planning.plan import Plan
from streamserve.settings import Settings

__all__ = ["Problem", "check", "problem_of"]

_CHECKS = (
    names.problems,
    topics.problems,
    features.problems,
    models.problems,
    scores.problems,
    operators.problems,
    labels.problems,
    tables.problems,
)


def check(plan: Plan, settings: Settings, others: Sequence[Plan] = ()) -> list[Problem]:
    """Return everything that is wrong with ``plan``, each thing once; empty when it may run.

    ``others`` are apps beside it, with which it must not collide. What only running shows is not found: records that do
    not fit their type, features without values, agents that raise or send to topics of another app, a model whose
    golden answer is off.
    """
    known, unknown = look_up(plan, settings)
    found = [*unknown, *(problem for find in _CHECKS for problem in find(known)), *names.collisions(plan, others)]
    return list(dict.fromkeys(found))
