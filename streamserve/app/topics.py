"""Declares topics: what an app reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, overload

from typing_extensions import TypeVar

from streamserve.agents import Topic
from streamserve.app.declared import Declares, checked
from streamserve.dataflow.planning.nodes import LatePolicy, OnError, TopicNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError

V = TypeVar("V")
K = TypeVar("K")

_OWN_TOPICS = ("dead-letters", "replays", "drift", "performance", "alerts", "retrain", "audit", "control", "features")


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
        max_future: Duration | None = ...,
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
        max_future: Duration | None = ...,
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
        max_future: Duration | None = None,
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

        One event of the far future would make all that follow it late, for good. ``max_future`` (default: no limit)
        refuses those whose time is further ahead of their record's Kafka timestamp, before they move any time on: they
        go where ``late`` says, and become dead letters where late ones are processed. Each is judged by its own record
        alone, so that a replay judges as the first run did; old events in new records are not concerned. It is as
        sound as those timestamps are: producers may set them, but brokers refuse any that are further ahead of their
        own clock than the topic's ``message.timestamp.after.max.ms`` (an hour by default since Kafka 4.0), and with
        ``message.timestamp.type=LogAppendTime`` they set them themselves.

        Raises:
            PlanError: the topic is declared twice in different ways, its name is taken by the engine, or ``max_future``
                is given without ``event_time``, which it is about.
        """
        checked(name, "topic")
        own = [f"{self._declared.app}-{suffix}" for suffix in _OWN_TOPICS]
        if name in own or (name.startswith(f"{self._declared.app}-") and name.endswith(("-changelog", "-regrouped"))):
            raise PlanError(f"topic {name!r} is the engine's own: name yours differently")
        aside = late.name if isinstance(late, Topic) else late
        if max_future is not None and event_time is None:
            raise PlanError(f"topic {name!r}: max_future holds event times against Kafka's: name the event_time")
        node = TopicNode(
            name,
            value,
            key,
            event_time,
            to_milliseconds(max_out_of_orderness),
            aside,
            on_error,
            max_future_ms=None if max_future is None else to_milliseconds(max_future),
        )
        if self._declared.topics.setdefault(name, node) != node:
            raise PlanError(f"topic {name!r} is declared twice with different types or settings")
        return Topic(node, self._declared)
