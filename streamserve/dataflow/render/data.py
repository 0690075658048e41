"""A plan as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamserve.dataflow.planning.nodes import (
    AgentNode,
    FeaturesNode,
    JoinNode,
    LabelsNode,
    ModelNode,
    MonitorNode,
    TableNode,
    TimerNode,
    TopicNode,
    WindowNode,
)
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.render.names import name_of

__all__ = ["as_json"]


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
        "timers": [_timer(node) for node in plan.timers],
        "monitors": [_monitor(node) for node in plan.monitors],
        "tables": [_table(node) for node in plan.tables.values()],
        "windows": [_window(node) for node in plan.windows.values()],
        "regroupings": [
            {"name": node.name, "source": node.source, "key": name_of(node.key), "topic": node.topic}
            for node in plan.regroupings.values()
        ],
        "joins": [_join(node) for node in plan.joins.values()],
        "labels": [_labels(node) for node in plan.labels.values()],
        "parts": [
            {
                "name": part.name,
                "topics": list(part.topics),
                "agents": [agent.name for agent in part.agents],
                "states": list(part.states),
            }
            for part in plan.parts
        ],
        "engine_topics": plan.engine_topics(),
    }


def _topic(node: TopicNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": name_of(node.value_type) or "bytes",
        "key": name_of(node.key),
        "event_time": name_of(node.event_time),
        "max_out_of_orderness_ms": node.max_out_of_orderness_ms,
        "max_future_ms": node.max_future_ms,
        "on_error": node.on_error,
    }


def _timer(node: TimerNode) -> dict[str, Any]:
    crontab = node.crontab
    return {
        "name": node.name,
        "every_ms": node.every_ms if crontab is None else None,
        "crontab": {"expression": crontab.expression, "timezone": crontab.timezone} if crontab is not None else None,
        "to": node.to,
        "per": node.per,
    }


def _features(node: FeaturesNode) -> dict[str, Any]:
    return {
        "service": node.service,
        "event": node.event.__name__,
        "row": name_of(node.row_type),
        "entity_row": dict(node.entity_row),
        "log_rate": node.log_rate,
        "windows": dict(node.windows),
        "pushes": [{"topic": push.topic, "push_source": push.push_source} for push in node.pushes],
    }


def _model(node: ModelNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "inputs": [name_of(item) for item in node.inputs],
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


def _table(node: TableNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": name_of(node.value_type),
        "key": node.key_type.__name__,
        "ttl_ms": node.ttl_ms,
        "store": node.store,
    }


def _window(node: WindowNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "source": node.source,
        "aggregate": repr(node.aggregate),
        "window": node.window.format,
        "grace_ms": node.window.grace_ms,
        "by": list(node.by),
        "to": node.to,
        "emit": node.emit if node.to is not None else None,
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
        "also_to": list(node.also_to),
        "features": node.features,
        "model": node.model,
        "ordering": node.ordering if node.kind == "agent" else None,
        "io": node.io,
        "on_error": node.on_error,
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
