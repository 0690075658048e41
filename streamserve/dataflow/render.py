"""A plan drawn: as text for a terminal, as a Mermaid flowchart for documents, as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamserve.dataflow.plan import (
    AgentNode,
    FeaturesNode,
    JoinNode,
    LabelsNode,
    ModelNode,
    MonitorNode,
    Part,
    Plan,
    TopicNode,
)

__all__ = ["as_json", "as_mermaid", "as_text"]


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data; the same plan gives the same data, so that two can be compared as text.

    Functions appear by name, types by their class's name, times in milliseconds.
    """
    return {
        "app": plan.app,
        "topics": [_topic(node) for node in plan.topics.values()],
        "features": [_features(node) for node in plan.features.values()],
        "models": [_model(node) for node in plan.models.values()],
        "agents": [_agent(node) for node in plan.agents],
        "timers": [
            {"name": node.name, "every_ms": node.every_ms, "to": node.to, "per": node.per} for node in plan.timers
        ],
        "monitors": [_monitor(node) for node in plan.monitors],
        "joins": [_join(node) for node in plan.joins.values()],
        "labels": [_labels(node) for node in plan.labels.values()],
        "parts": [
            {"name": part.name, "topics": list(part.topics), "agents": [agent.name for agent in part.agents]}
            for part in plan.parts
        ],
        "engine_topics": plan.engine_topics(),
    }


def _topic(node: TopicNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": _name(node.value_type) or "bytes",
        "key": _name(node.key),
        "event_time": _name(node.event_time),
        "max_out_of_orderness_ms": node.max_out_of_orderness_ms,
        "on_error": node.on_error,
    }


def _features(node: FeaturesNode) -> dict[str, Any]:
    return {
        "service": node.service,
        "event": node.event.__name__,
        "row": _name(node.row_type),
        "entity_row": dict(node.entity_row),
        "log_rate": node.log_rate,
        "pushes": [{"topic": push.topic, "push_source": push.push_source} for push in node.pushes],
    }


def _model(node: ModelNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "inputs": [_name(item) for item in node.inputs],
        "output": node.output.__name__,
        "version": node.version,
        "alias": None if node.version is not None else node.alias,
    }


def _monitor(node: MonitorNode) -> dict[str, Any]:
    return {
        "model": node.model,
        "detectors": [type(detector).__name__ for detector in node.detectors],
        "window_ms": node.window_ms,
        "slices": list(node.slices),
        "columns": _listed(node.columns),
        "detector_columns": _listed(node.detector_columns),
    }


def _join(node: JoinNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "left": node.left,
        "right": node.right,
        "within_ms": node.within_ms,
        "kind": node.kind,
    }


def _labels(node: LabelsNode) -> dict[str, Any]:
    measure = node.measure
    return {
        "name": node.name,
        "labels": node.labels,
        "predictions": node.predictions,
        "read_from": list(node.read_from),
        "within_ms": measure.within_ms,
        "task": measure.task,
        "window": measure.window,
        "slices": list(measure.slices),
        "metrics": [type(metric).__name__ for metric in measure.metrics],
    }


def _agent(node: AgentNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "sources": list(node.sources),
        "to": node.to,
        "features": node.features,
        "model": node.model,
        "ordering": node.ordering if node.kind == "agent" else None,
        "io": node.io,
        "on_error": node.on_error,
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _name(item: object) -> str | None:
    """Return the name of a type, a field or a function."""
    if item is None or isinstance(item, str):
        return item
    return str(getattr(item, "__name__", item)).replace("<lambda>", "function")


# --- text -----------------------------------------------------------------------------------------------------------


def as_text(plan: Plan) -> str:
    """Return the plan as an indented outline, one part after the other.

    >>> from streamserve import App
    >>> app = App("shop")
    >>> clicks, seen = app.topic("clicks", dict, key=str), app.topic("seen", dict, key=str)
    >>> @app.batch_agent(clicks, to=seen)
    ... def note(batch):
    ...     return batch
    >>> print(as_text(app.plan()))
    app shop
      part clicks
        reads   clicks: dict by str
        agent   note (batch) -> seen
      writes  seen: dict by str
      engine  shop-dead-letters
    """
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"app {plan.app}"
    for part in plan.parts:
        yield from (f"  {line}" for line in _part_lines(plan, part))
    for timer in plan.timers:
        yield f"  timer   {timer.name} every {timer.every_ms} ms per {timer.per} -> {timer.to}"
    for node in plan.models.values():
        inputs = ", ".join(item if isinstance(item, str) else item.__name__ for item in node.inputs)
        version = f"version {node.version}" if node.version is not None else f"alias {node.alias}"
        yield f"  model   {node.name} ({version}): {inputs or 'any inputs'} -> {node.output.__name__}"
    for node in plan.monitors:
        detectors = ", ".join(type(detector).__name__ for detector in node.detectors) or "no detectors"
        yield f"  monitor {node.model}: {detectors}, window {node.window_ms} ms -> {plan.drift_topic}"
    read = {topic for part in plan.parts for topic in part.topics}
    for node in plan.topics.values():
        if node.name not in read:
            yield f"  writes  {_described(node)}"
    for topic in plan.engine_topics():
        yield f"  engine  {topic}"


def _part_lines(plan: Plan, part: Part) -> Iterator[str]:
    yield f"part {part.name}" + (" (merged by event time)" if part.merges else "")
    for topic in part.topics:
        yield f"  reads   {_described(plan.topics[topic])}"
    for node in plan.features.values():
        for push in node.pushes:
            if push.topic in part.topics:
                yield f"  pushes  {push.topic} -> {push.push_source} of features {node.service}"
    for name in part.joins:
        join = plan.joins[name]
        yield f"  joins   {join.left} with {join.right} ({join.kind}), within {join.within_ms} ms -> {name}"
    for labels in map(plan.labels.__getitem__, part.labels):
        within = f"within {labels.measure.within_ms} ms"
        yield f"  labels  {labels.labels} for {labels.predictions}, {within} -> {plan.performance_topic}"
    for agent in part.agents:
        asks = [
            *([f"features {agent.features}"] if agent.features else []),
            *([f"model {agent.model}"] if agent.model else []),
        ]
        source = f" on {', '.join(agent.sources)}" if part.merges else ""
        target = f" -> {agent.to}" if agent.to is not None else ""
        yield f"  agent   {agent.name} ({agent.kind}){source}{''.join(f', {ask}' for ask in asks)}{target}"


def _described(node: TopicNode) -> str:
    key = f" by {_name(node.key)}" if node.key is not None else ""
    time = f" at {_name(node.event_time)}" if node.event_time is not None else ""
    return f"{node.name}: {_name(node.value_type) or 'bytes'}{key}{time}"


# --- Mermaid --------------------------------------------------------------------------------------------------------


def as_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart: topics are cylinders, agents boxes, features and models round.

    Joins and labels are boxes with bars. Dotted lines are look-ups, pushes and copies. What agents ask for and send to
    in their own code is not known, and not drawn.
    """
    return "\n".join(["flowchart LR", *_Drawing(plan).lines()])


class _Drawing:
    """The lines of a flowchart; nodes get short ids, so that any name may be shown."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        names = [("topic", name) for name in (*plan.topics, *plan.engine_topics())]
        names += [("features", name) for name in plan.features] + [("model", name) for name in plan.models]
        names += [("agent", node.name) for node in plan.agents] + [("timer", node.name) for node in plan.timers]
        names += [("join", name) for name in plan.joins] + [("labels", name) for name in plan.labels]
        self._ids: Mapping[tuple[str, str], str] = {name: f"n{number}" for number, name in enumerate(names)}

    def lines(self) -> Iterator[str]:
        shapes = {
            "topic": '[("{}")]',
            "features": '(["{}"])',
            "model": '(["{}"])',
            "agent": '["{}"]',
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
            box = self._ids["agent", agent.name]
            yield from (f"{self._source(source)} --> {box}" for source in agent.sources)
            if agent.features is not None:
                yield f"{self._ids['features', agent.features]} -.-> {box}"
            if agent.model is not None:
                yield f"{self._ids['model', agent.model]} -.-> {box}"
            if agent.to is not None:
                yield f"{box} --> {self._topic(agent.to)}"
        for join in plan.joins.values():
            yield from (f"{self._topic(topic)} --> {self._ids['join', join.name]}" for topic in join.topics)
        yield from self._label_edges()
        for node in plan.features.values():
            features = self._ids["features", node.service]
            yield from (f"{self._topic(push.topic)} -. push .-> {features}" for push in node.pushes)
            if node.log_rate > 0:
                yield f"{features} --> {self._topic(plan.features_topic)}"
        for timer in plan.timers:
            yield f"{self._ids['timer', timer.name]} --> {self._topic(timer.to)}"
        for monitor in plan.monitors:
            yield f"{self._ids['model', monitor.model]} -- drift --> {self._topic(plan.drift_topic)}"

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
