"""Types of topics, and the fields that keys and times are read from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from streamserve.codecs.json import codec_for
from streamserve.dataflow.checks.known import Known, fields_of
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.errors import PlanError
from streamserve.inference.signature import members_of, shown

__all__ = ["problems"]


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with the topics of a plan, and with the functions of timers and lifespans."""
    for node in known.plan.topics.values():
        try:
            if node.value_type is not None:
                codec_for(node.value_type)
        except PlanError as error:
            yield Problem(f"topic {node.name!r}", str(error), "give the topic a type that can be read from JSON")
            continue
        yield from _unknown_field(node, "key", node.key)
        yield from _unknown_field(node, "event_time", node.event_time)
        yield from _no_time(node)


def _unknown_field(node: TopicNode, option: str, field: object) -> Iterator[Problem]:
    if not isinstance(field, str) or node.value_type is None:
        return
    name = field.partition(".")[0]
    fields = fields_of(node.value_type)
    if name not in fields and not hasattr(node.value_type, name):
        there_is = f"there are {', '.join(fields)}" if fields else "it has no named fields"
        what = f"{option}={field!r} is not a field of {shown(node.value_type)}; {there_is}"
        yield Problem(f"topic {node.name!r}", what, f"name a field, or give a function: {option}=lambda value: ...")


def _no_time(node: TopicNode) -> Iterator[Problem]:
    """Say so when the event time's field can be neither a datetime nor an integer (milliseconds)."""
    annotation = fields_of(node.value_type).get(node.event_time) if isinstance(node.event_time, str) else None
    if annotation is not None and not any(_is_time(member) for member in members_of(annotation)):
        what = f"event_time={node.event_time!r} is of type {shown(annotation)}"
        yield Problem(f"topic {node.name!r}", what, "name a field that is a datetime, or an int of milliseconds")


def _is_time(member: Any) -> bool:
    """Return whether a value of ``member`` may be a time; pydantic's own markers, such as AwareDatetime, may."""
    if not isinstance(member, type) or member.__module__.startswith("pydantic"):
        return True
    return issubclass(member, datetime | int) and not issubclass(member, bool)
