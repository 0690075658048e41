"""A plan as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.render.names import name_of

__all__ = ["as_mermaid"]


def as_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart: topics are cylinders, agents boxes, features and models round.

    Windows, joins and labels are boxes with bars. Dotted lines are look-ups, pushes, copies and dead letters. What
    agents ask for and send to in their own code is not known, and not drawn; nor are the changelogs of what has state.
    """
    return "\n".join(["flowchart LR", *_Drawing(plan).lines()])


class _Drawing:
    """The lines of a flowchart; nodes get short ids, so that any name may be shown."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        names = [("topic", name) for name in dict.fromkeys([*plan.topics, *plan.engine_topics()]) if _is_drawn(name)]
        names += [("features", name) for name in plan.features] + [("model", name) for name in plan.models]
        names += [("agent", node.name) for node in plan.agents] + [("timer", node.name) for node in plan.timers]
        names += [("window", name) for name in plan.windows]
        names += [("join", name) for name in plan.joins] + [("labels", name) for name in plan.labels]
        self._ids: Mapping[tuple[str, str], str] = {name: f"n{number}" for number, name in enumerate(names)}

    def lines(self) -> Iterator[str]:
        shapes = {
            "topic": '[("{}")]',
            "features": '(["{}"])',
            "model": '(["{}"])',
            "agent": '["{}"]',
            "window": '[["{}"]]',
            "join": '[["{}"]]',
            "labels": '[["{}"]]',
            "timer": '{{{{"{}"}}}}',
        }
        for (kind, name), node in self._ids.items():
            label = name if kind in {"topic", "agent", "join"} else f"{kind} {name}"
            yield f"  {node}{shapes[kind].format(label.replace(chr(34), '#quot;'))}"
        yield from (f"  {edge}" for edge in self._edges())

    def _edges(self) -> Iterator[str]:
        plan = self._plan
        for agent in plan.agents:
            yield from self._agent_edges(agent)
        yield from self._state_edges()
        for join in plan.joins.values():
            yield from (f"{self._topic(topic)} --> {self._ids['join', join.name]}" for topic in join.topics)
        yield from self._label_edges()
        for node in plan.features.values():
            features = self._ids["features", node.service]
            yield from (f"{self._topic(push.topic)} -. push .-> {features}" for push in node.pushes)
            if node.log_rate > 0:
                yield f"{features} --> {self._topic(plan.features_topic)}"
        for timer in plan.timers:
            if timer.to is not None:
                yield f"{self._ids['timer', timer.name]} --> {self._topic(timer.to)}"
        for monitor in plan.monitors:
            yield f"{self._ids['model', monitor.model]} -- drift --> {self._topic(plan.drift_topic)}"

    def _agent_edges(self, agent: AgentNode) -> Iterator[str]:
        box = self._ids["agent", agent.name]
        yield from (f"{self._source(source)} --> {box}" for source in agent.sources)
        if agent.features is not None:
            yield f"{self._ids['features', agent.features]} -.-> {box}"
        if agent.model is not None:
            yield f"{self._ids['model', agent.model]} -.-> {box}"
        yield from (f"{box} --> {self._topic(topic)}" for topic in agent.outputs)
        if agent.on_error == "dead-letter":
            yield f"{box} -. at fault .-> {self._topic(self._plan.dead_letter_topic)}"

    def _state_edges(self) -> Iterator[str]:
        plan = self._plan
        for node in plan.regroupings.values():
            yield f"{self._topic(node.source)} -- by {name_of(node.key)} --> {self._topic(node.topic)}"
        for window in plan.windows.values():
            box = self._ids["window", window.name]
            yield f"{self._topic(window.source)} --> {box}"
            if window.to is not None:
                yield f"{box} --> {self._topic(window.to)}"
        for features in plan.features.values():
            yield from (
                f"{self._ids['window', name]} -.-> {self._ids['features', features.service]}"
                for name in features.windows.values()
            )

    def _label_edges(self) -> Iterator[str]:
        plan = self._plan
        for node in plan.labels.values():
            box = self._ids["labels", node.name]
            yield from (f"{self._topic(topic)} --> {box}" for topic in (node.labels, *node.read_from))
            yield f"{box} --> {self._topic(plan.performance_topic)}"
        for tee in plan.tees:
            yield f"{self._topic(tee.predictions)} -. copy .-> {self._topic(tee.topic)}"

    def _source(self, name: str) -> str:
        return self._ids["join", name] if name in self._plan.joins else self._topic(name)

    def _topic(self, name: str) -> str:
        return self._ids["topic", name]


def _is_drawn(topic: str) -> bool:
    return not topic.endswith("-changelog")
