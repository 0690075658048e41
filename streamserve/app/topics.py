"""Declares topics: what an app reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, overload

from typing_extensions import TypeVar

from streamserve.agents import Topic
from streamserve.app.declared import Declares, checked
from streamserve.dataflow.plan import LatePolicy, OnError, TopicNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError

V = TypeVar("V")
K = TypeVar("K")

_OWN_TOPICS = ("dead-letters", "drift", "performance", "alerts", "retrain", "audit", "control", "features")


class DeclaresTopics(Declares):
    """``app.topic``."""

    @overload
    def topic(self, name: str, /, *, key: None = None) -> Topic[bytes, bytes]: ...
    @overload
    def topic(
        self,
        name: str,
        value: type[V],
        /,
        *,
        key: str,
        event_time: str | Callable[[V], datetime] | None = None,
        max_out_of_orderness: Duration = ...,
        late: LatePolicy | Topic[Any, Any] = ...,
        on_error: OnError = ...,
    ) -> Topic[V, str]: ...
    @overload
    def topic(
        self,
        name: str,
        value: type[V],
        /,
        *,
        key: Callable[[V], K],
        event_time: str | Callable[[V], datetime] | None = None,
        max_out_of_orderness: Duration = ...,
        late: LatePolicy | Topic[Any, Any] = ...,
        on_error: OnError = ...,
    ) -> Topic[V, K]: ...
    def topic(
        self,
        name: str,
        value: type[Any] | None = None,
        /,
        *,
        key: str | Callable[[Any], Any] | None = None,
        event_time: str | Callable[[Any], datetime] | None = None,
        max_out_of_orderness: Duration = "0s",
        late: LatePolicy | Topic[Any, Any] = "process",
        on_error: OnError = "dead-letter",
    ) -> Topic[Any, Any]:
        """Declare a topic.

        ``value`` is a pydantic model, a ``msgspec.Struct`` or a plain JSON type; without it, values are bytes. ``key``
        names the field, or computes what, the records are keyed by. ``event_time`` names the field of a record's own
        time (a datetime, UTC where it has no zone); without it the Kafka timestamp is taken. Records may come up to
        ``max_out_of_orderness`` behind the newest of their partition before they count as late; where windows or joins
        read the topic, records wait that long to be taken in order of event time. ``late`` records are processed all
        the same, dropped, dead-lettered, or written as they are to a topic of their own. ``on_error`` is for records
        that do not decode.
        """
        checked(name, "topic")
        own = [f"{self._declared.app}-{suffix}" for suffix in _OWN_TOPICS]
        if name in own or (name.startswith(f"{self._declared.app}-") and name.endswith(("-changelog", "-regrouped"))):
            raise PlanError(f"topic {name!r} is the engine's own: name yours differently")
        aside = late.name if isinstance(late, Topic) else late
        node = TopicNode(name, value, key, event_time, to_milliseconds(max_out_of_orderness), aside, on_error)
        if self._declared.topics.setdefault(name, node) != node:
            raise PlanError(f"topic {name!r} is declared twice with different types or settings")
        return Topic(node, self._declared)
