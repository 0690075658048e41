"""Events against the feature services that they ask."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from inspect import Parameter

from streamserve.dataflow.checks.known import Known, fields_of
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import FeaturesNode, PushNode
from streamserve.features.service import ServiceDescription

__all__ = ["problems"]


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong between events, feature services, row types and push sources."""
    for name, service in known.services.items():
        node = known.plan.features[name]
        yield from _missing_keys(node, service, node.event, set(fields_of(node.event)))
        yield from _unknown_renames(node, service)
        yield from _row_type(node, service)
        for push in node.pushes:
            yield from _push(known, node, service, push)
    for agent in known.plan.agents:
        if agent.features is not None and agent.features in known.services:
            node, fields = known.plan.features[agent.features], set(known.event_fields(agent.sources[0]))
            event = known.plan.topics[agent.sources[0]].value_type
            if event is not node.event:
                yield from _missing_keys(node, known.services[agent.features], event or bytes, fields)


def _missing_keys(node: FeaturesNode, service: ServiceDescription, event: type, fields: set[str]) -> Iterator[Problem]:
    """Say which join keys, and which fields that on-demand views ask for, an event has not."""
    for kind, wanted in (("join key", service.join_keys), ("request field of on-demand views", service.request_fields)):
        for name in wanted:
            field = node.entity_row.get(name, name)
            if field not in fields and not hasattr(event, field):
                what = f"need {kind} {name!r}, and {event.__name__} has no field {field!r}"
                remedy = f"add the field, or name another: entity_row={{{name!r}: ...}}"
                yield Problem(f"features {node.service!r}", what, remedy)


def _unknown_renames(node: FeaturesNode, service: ServiceDescription) -> Iterator[Problem]:
    asked = (*service.join_keys, *service.request_fields)
    for name in node.entity_row:
        if name not in asked:
            what = f"entity_row names {name!r}, which the service does not ask for; it asks for {', '.join(asked)}"
            yield Problem(f"features {node.service!r}", what, "correct the name or remove it")


def _row_type(node: FeaturesNode, service: ServiceDescription) -> Iterator[Problem]:
    """Say where ``row_type(**features)`` would fail."""
    if node.row_type is None:
        return
    parameters = inspect.signature(node.row_type).parameters
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    where = f"features {node.service!r}"
    for name in service.features:
        if name not in parameters and not takes_any:
            yield Problem(where, f"row type {node.row_type.__name__} has no field {name!r}", "add the field")
    for name, parameter in parameters.items():
        if parameter.default is Parameter.empty and name not in service.features and not takes_any:
            what = f"row type {node.row_type.__name__} needs {name!r}, which the service does not give"
            yield Problem(where, what, "remove the field or give it a default")


def _push(known: Known, node: FeaturesNode, service: ServiceDescription, push: PushNode) -> Iterator[Problem]:
    where = f"features {node.service!r}"
    if push.push_source not in service.push_sources:
        sources = ", ".join(service.push_sources) or "none"
        what = f"have no push source {push.push_source!r} in the repository; there is {sources}"
        yield Problem(where, what, "correct push_source=, or add a PushSource to the view")
        return
    event, fields = known.plan.topics[push.topic].value_type, set(known.event_fields(push.topic))
    for view in service.views:
        if view.table in service.push_sources[push.push_source]:
            missing = [name for name in (*view.keys, *view.features) if name not in fields]
            if missing:
                what = f"are pushed from topic {push.topic!r}, whose {_name(event)} lacks {', '.join(missing)}"
                yield Problem(where, f"{what} of view {view.table!r}", "add the fields, or push from another topic")


def _name(event: type | None) -> str:
    return "bytes" if event is None else event.__name__
