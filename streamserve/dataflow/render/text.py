"""A plan as an outline."""

from __future__ import annotations

from collections.abc import Iterator

from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.dataflow.planning.plan import Part, Plan
from streamserve.dataflow.render.names import name_of
from streamserve.durations import in_words
from streamserve.state.windows import WindowSpec

__all__ = ["as_text"]


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
        reads   clicks: dict, key str
        agent   note (batch) -> seen
      writes  seen: dict, key str
      engine  shop-dead-letters
    """
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"app {plan.app}"
    for part in plan.parts:
        yield from (f"  {line}" for line in _part_lines(plan, part))
    for timer in plan.timers:
        target = f" -> {timer.to}" if timer.to is not None else ""
        yield f"  timer   {timer.name} {timer.when} per {timer.per}{target}"
    for node in plan.models.values():
        inputs = ", ".join(item if isinstance(item, str) else item.__name__ for item in node.inputs)
        version = f"version {node.version}" if node.version is not None else f"alias {node.alias}"
        yield f"  model   {node.name} ({version}): {inputs or 'any inputs'} -> {node.output.__name__}"
    for node in plan.monitors:
        detectors = ", ".join(type(detector).__name__ for detector in node.detectors) or "no detectors"
        yield f"  monitor {node.model}: {detectors}, window {in_words(node.window_ms)} -> {plan.drift_topic}"
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
    yield from _state_lines(plan, part)
    for name in part.joins:
        join = plan.joins[name]
        yield f"  joins   {join.left} with {join.right} ({join.kind}), within {in_words(join.within_ms)} -> {name}"
    for labels in map(plan.labels.__getitem__, part.labels):
        within = f"within {in_words(labels.measure.within_ms)}"
        yield f"  labels  {labels.labels} for {labels.predictions}, {within} -> {plan.performance_topic}"
    for agent in part.agents:
        asks = [
            *([f"features {agent.features}"] if agent.features else []),
            *([f"model {agent.model}"] if agent.model else []),
        ]
        source = f" on {', '.join(agent.sources)}" if part.merges else ""
        target = f" -> {', '.join(agent.outputs)}" if agent.outputs else ""
        yield f"  agent   {agent.name} ({agent.kind}){source}{''.join(f', {ask}' for ask in asks)}{target}"


def _state_lines(plan: Plan, part: Part) -> Iterator[str]:
    for node in plan.regrouped_from(part):
        yield f"  regroup {node.source} by {name_of(node.key)} -> {node.topic}"
    for window in map(plan.windows.__getitem__, part.windows):
        target = f" -> {window.to}" if window.to is not None else ""
        by = f" by {', '.join(window.by)}" if window.by else ""
        yield f"  window  {window.name}: {window.aggregate!r} of {window.source}{by}, {_length(window.window)}{target}"
    for table in map(plan.tables.__getitem__, part.tables):
        yield f"  table   {table.name}: {name_of(table.value_type)} by {table.key_type.__name__}"


def _length(window: WindowSpec) -> str:
    every = f" every {in_words(window.step_ms)}" if window.kind == "hopping" else ""
    return f"{window.kind} {in_words(window.size_ms)}{every}"


def _described(node: TopicNode) -> str:
    key = f", key {name_of(node.key)}" if node.key is not None else ""
    time = f", time {name_of(node.event_time)}" if node.event_time is not None else ""
    return f"{node.name}: {name_of(node.value_type) or 'bytes'}{key}{time}"
