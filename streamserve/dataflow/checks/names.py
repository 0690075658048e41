"""Names that collide, and parts of an app that nothing reaches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.plan import Plan, part_name

__all__ = ["collisions", "problems", "steps_of"]

_ENGINE_STEPS: tuple[str, ...] = ("kafka", "kafka_out", "outputs", "ticks", "timers", "due", "table_timers")


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with the names and connections of a plan."""
    plan = known.plan
    yield from _unreached(plan)
    yield from _shared_changelogs(plan)
    yield from _shared_steps(plan)
    yield from _shared_topics(plan)


def collisions(plan: Plan, others: Sequence[Plan]) -> Iterator[Problem]:
    """Yield where ``plan`` and ``others``, which run on the same Kafka, would take each other's names."""
    outputs = {topic for agent in plan.agents for topic in agent.outputs} | {timer.to for timer in plan.timers}
    outputs |= {timer.to for table in plan.tables.values() for timer in table.timers}
    for other in others:
        if other.app == plan.app:
            what = "has the name of another app of the module: both would be one consumer group with one state"
            yield Problem(f"app {plan.app!r}", what, "rename one of them")
            continue
        for topic in other.engine_topics():
            if topic in outputs:
                what = f"writes topic {topic!r}, which is the engine's own in app {other.app!r}"
                yield Problem(f"app {plan.app!r}", what, "write to a topic of another name")


def _unreached(plan: Plan) -> Iterator[Problem]:
    if not plan.parts:
        yield Problem(
            "app", "has no agents, so nothing is read", "declare one: @app.agent(topic, ...) or app.score(...)"
        )
    for agent in plan.agents:
        if not agent.sources:
            yield Problem(f"agent {agent.name!r}", "has no input", "name a topic: @app.agent(topic, ...)")
        for topic in set(agent.outputs) & set(agent.sources):
            what = f"reads the topic {topic!r} that it writes, so that each output is an input again"
            yield Problem(f"agent {agent.name!r}", what, "write to another topic")
    for name in plan.joins.keys() - {name for part in plan.parts for name in part.joins}:
        yield Problem(f"join {name!r}", "has no agent, so nothing is joined", "declare one: @app.agent(joined, ...)")
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
    taken: dict[str, str] = {}
    for step, owner in steps_of(plan):
        if step in taken:
            what = f"would have the step {step!r} of {taken[step]}"
            yield Problem(owner, what, "rename the agent's function, or give the agent a name=")
        taken.setdefault(step, owner)
    for agent in plan.agents:
        if "." in agent.name:
            what = "has a '.' in its name, which dataflow steps may not have"
            yield Problem(f"agent {agent.name!r}", what, "give it another name=")


def steps_of(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the name of each step of the compiled dataflow and whose it is: the engine's, a topic's or an agent's."""
    yield from ((step, "the engine") for step in _ENGINE_STEPS)
    for part in {part.name: part for part in plan.parts}.values():
        for suffix in ("", "_decode", "_windows", "_window_results", "_pushes", "_push_failures"):
            yield part.name + suffix, f"topic {part.topics[0]!r}"
    for node in plan.labels.values():
        yield part_name(f"labels-{node.name}"), f"labels {node.name!r}"
    for node in plan.regroupings.values():
        yield f"regroup-{node.name}", f"regrouping {node.name!r}"
    for name in plan.joins:
        yield f"join-{part_name(name)}", f"join {name!r}"
    for agent in plan.agents:
        suffixes = ("_records", "_failures", "_encode") if agent.kind == "dataflow" else ("",)
        yield from ((agent.name + suffix, f"agent {agent.name!r}") for suffix in suffixes)


def _shared_topics(plan: Plan) -> Iterator[Problem]:
    """Kafka names its metrics with '_' for '.', and refuses a topic whose name would be another's there."""
    folded: dict[str, str] = {}
    for name in [*plan.topics, *plan.engine_topics()]:
        other = folded.setdefault(name.replace(".", "_"), name)
        if other != name:
            yield Problem(f"topic {name!r}", f"is the same as {other!r} to Kafka's metrics", "rename one of them")
