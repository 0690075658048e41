"""What agents read, and topics to write to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic

from typing_extensions import TypeVar

from streamserve.dataflow.driving.effects import Send, perform
from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.joining import key_problem
from streamserve.dataflow.planning.nodes import JoinNode, RegroupNode, TopicNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import EncodeError, PlanError
from streamserve.records import to_epoch_ms
from streamserve.state.joins import JoinKind

V = TypeVar("V")
K = TypeVar("K", default=str)
V_co = TypeVar("V_co", covariant=True)
K_co = TypeVar("K_co", covariant=True, default=str)
A = TypeVar("A")


class Source(Generic[V_co, K_co]):
    """What an agent reads: a topic, a topic regrouped by another key, or the pairs of two of them."""

    def __init__(self, node: TopicNode, declared: Declared) -> None:
        self.name = node.name
        self.node = node
        self._declared = declared

    def group_by(self, key: str, *, name: str | None = None) -> Source[V_co, str]:
        """Return the same events under the field ``key``: each key's events, from all partitions, with one worker.

        They go through an internal topic, in the transaction of the records that they come from, and are read again in
        order of event time; ``name`` (default: ``<topic>-by-<key>``) is its identity.
        """
        return self._regrouped(key, name or f"{self.name}-by-{key}")

    def key_by(self, key: Callable[[V_co], A], *, name: str) -> Source[V_co, A]:
        """Return the same events under what ``key`` makes of them, as ``group_by`` does; no key may go anywhere."""
        return self._regrouped(key, name)

    def join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co, A], K_co]:
        """Return the pairs of events of this and ``other`` that have one key and are at most ``within`` apart.

        Both times are event times, whichever comes first. Each pair comes once, as soon as both events are in, and
        with the later to be processed: its record is the pair's (``stream.records()``), its dead letter the pair's too.
        Results do not depend on the order of arrival within the topics' ``max_out_of_orderness``; an event that comes
        later than that still meets what is kept. An event is kept, in memory and in ``<app>-<name>-changelog``, until
        the watermark has passed its time by ``within``; ``name`` (default: ``<this>-join-<other>``) is the identity of
        what is kept. An event without a key has no partner.

        Both topics need equal numbers of partitions and the same key: regroup first where it is another
        (``a.group_by("x").join(b, ...)``). Pairs are for agents and batch agents, which read no source beside them.

        Raises:
            PlanError: a source is joined with itself or is a join, keys are of different kinds, or another join has
                the name.
        """
        return self._joined("inner", other, within, name)

    def left_join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co, A | None], K_co]:
        """Return what ``join`` does, and each event of this source that stayed alone, with ``None``.

        It comes once the watermark has passed it by ``within``; an idle ``other`` does not hold it back.
        """
        return self._joined("left", other, within, name)

    def outer_join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co | None, A | None], K_co]:
        """Return what ``left_join`` does, and each event of ``other`` that stayed alone, behind ``None``."""
        return self._joined("outer", other, within, name)

    def _joined(self, kind: JoinKind, other: Source[Any, Any], within: Duration, name: str | None) -> Source[Any, Any]:
        joins, chosen = self._declared.joins, name or f"{self._short_name}-join-{other._short_name}"
        if self.name == other.name:
            raise PlanError(f"source {self.name!r} is joined with itself: a table can hold what came before")
        for source in (self, other):
            if source.name in joins:
                raise PlanError(f"join {source.name!r} is joined again: let an agent write its pairs to a topic first")
        if problem := key_problem(self.node, other.node):
            raise PlanError(problem)
        node = JoinNode(chosen, self.name, other.name, to_milliseconds(within), kind)
        if joins.setdefault(chosen, node) != node:
            raise PlanError(f"join {chosen!r} is declared twice with different settings: give one of them name=")
        return Source(TopicNode(chosen, tuple), self._declared)

    @property
    def _short_name(self) -> str:
        """Return the name that the user knows: a regrouping's own, not its topic's."""
        names = {node.topic: node.name for node in self._declared.regroupings.values()}
        return names.get(self.name, self.name)

    def _regrouped(self, key: str | Callable[[Any], Any], name: str) -> Source[V_co, Any]:
        if self.name in self._declared.joins:
            raise PlanError(f"join {self.name!r} cannot be regrouped: regroup its topics, or write its pairs to one")
        if self.node.value_type is None:
            raise PlanError(f"topic {self.name!r} has no value type, so it has no fields to regroup by")
        node = RegroupNode(name, self.name, f"{self._declared.app}-{name}-regrouped", key)
        topic = replace(self.node, name=node.topic, key=key, late="process", upstream=self.name, max_future_ms=None)
        if self._declared.regroupings.setdefault(name, node) != node:
            raise PlanError(f"regrouping {name!r} is declared twice with different keys: give one of them name=")
        self._declared.topics[node.topic] = topic
        return Source(topic, self._declared)


class Topic(Source[V, K]):
    """A Kafka topic of values ``V`` under keys ``K``; made by ``App.topic``."""

    async def send(
        self,
        value: V,
        *,
        key: K | None = None,
        timestamp: datetime | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write ``value`` in the same transaction as everything else that the event comes to.

        It is held back until the event is done; if the agent raises first, it is never written. Without ``key`` the
        topic's own key is taken from the value. ``timestamp`` becomes the record's (UTC where it has no zone); without
        it the time of writing does.

        Raises:
            EncodeError: a header's value is not bytes. A value that does not fit the topic fails the event when it is
                done.
        """
        sent: tuple[tuple[str, Any], ...] = tuple((headers or {}).items())
        if not all(isinstance(content, bytes) for _, content in sent):
            raise EncodeError(f"topic {self.name!r}: headers are text to bytes: encode their values")
        await perform(Send(self.name, value, key, to_epoch_ms(timestamp) if timestamp is not None else 0, sent))

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"


def names_of(sources: Iterable[Source[Any, Any]]) -> tuple[str, ...]:
    """Return the names of ``sources``, which must be at least one and differ.

    Raises:
        PlanError: there is none, or one twice.
    """
    names = tuple(source.name for source in sources)
    if not names:
        raise PlanError("an agent reads at least one topic: @app.agent(topic, ...)")
    if len(set(names)) < len(names):
        raise PlanError(f"an agent reads each topic once, not {', '.join(names)}")
    return names
