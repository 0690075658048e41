"""Names that collide, and parts of an app that nothing reaches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.plan import AgentNode, Plan

__all__ = ["problems"]

_ENGINE_STEPS: tuple[str, ...] = ("kafka", "kafka_out", "outputs", "ticks", "timers")


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with the names and connections of a plan."""
    plan = known.plan
    yield from _unreached(plan)
    yield from _shared_changelogs(plan)
    yield from _shared_steps(plan)
    yield from _shared_topics(plan)


def _unreached(plan: Plan) -> Iterator[Problem]:
    if not plan.parts:
        yield Problem(
            "app", "has no agents, so nothing is read", "declare one: @app.agent(topic, ...) or app.score(...)"
        )
    for agent in plan.agents:
        if not agent.sources:
            yield Problem(f"agent {agent.name!r}", "has no input", "name a topic: @app.agent(topic, ...)")
        if agent.to in agent.sources:
            what = f"reads the topic {agent.to!r} that it writes, so that each output is an input again"
            yield Problem(f"agent {agent.name!r}", what, "write to another topic")
    read = {topic for part in plan.parts for topic in part.topics}
    for node in plan.features.values():
        for push in node.pushes:
            if push.topic not in read:
                what = (
                    f"are pushed from topic {push.topic!r}, which nothing reads: no agent takes {node.event.__name__}"
                )
                yield Problem(f"features {node.service!r}", what, "add an agent on their events, or remove the push")


def _shared_changelogs(plan: Plan) -> Iterator[Problem]:
    """State is kept under a part's name: two parts of one name would overwrite each other's."""
    owners: dict[str, list[str]] = defaultdict(list)
    for part in plan.parts:
        owners[part.name].append(", ".join(repr(agent.name) for agent in part.agents) or repr(part.topics[0]))
    for name, agents in owners.items():
        if len(agents) > 1:
            what = f"write one changelog under {name!r}: the names of their first topics differ only in '.' and '_'"
            yield Problem(f"agents {' and '.join(agents)}", what, "rename one of the topics")


def _shared_steps(plan: Plan) -> Iterator[Problem]:
    taken = dict.fromkeys(_ENGINE_STEPS, "the engine")
    for part in plan.parts:
        suffixes = ("", "_decode", "_pushes", "_push_failures")
        taken.update({part.name + suffix: f"topic {part.topics[0]!r}" for suffix in suffixes})
    for agent in plan.agents:
        where = f"agent {agent.name!r}"
        if "." in agent.name:
            yield Problem(where, "has a '.' in its name, which dataflow steps may not have", "give it another name=")
        for step in _steps(agent):
            if step in taken:
                what = f"would have the step {step!r} of {taken[step]}"
                yield Problem(where, what, "rename the agent's function, or give the agent a name=")
            taken.setdefault(step, where)


def _steps(agent: AgentNode) -> list[str]:
    if agent.kind != "dataflow":
        return [agent.name]
    return [f"{agent.name}_{step}" for step in ("records", "failures", "encode")]


def _shared_topics(plan: Plan) -> Iterator[Problem]:
    """Kafka names its metrics with '_' for '.', and refuses a topic whose name would be another's there."""
    folded: dict[str, str] = {}
    for name in [*plan.topics, *plan.engine_topics()]:
        other = folded.setdefault(name.replace(".", "_"), name)
        if other != name:
            yield Problem(f"topic {name!r}", f"is the same as {other!r} to Kafka's metrics", "rename one of them")
