"""Declares state: tables that agents write, and windows that count events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from typing_extensions import TypeVar

from streamserve.agents import Source, Topic
from streamserve.aggregates import Aggregate, Field
from streamserve.app.declared import Declares
from streamserve.dataflow.planning.nodes import Emit, GlobalTableNode, StoreKind, TableNode, TopicNode, WindowNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError
from streamserve.records import Window
from streamserve.state.windows import WindowSpec
from streamserve.tables import GlobalTable, Table, WindowedTable

A = TypeVar("A")
K = TypeVar("K")
Out = TypeVar("Out")
V = TypeVar("V")


class DeclaresState(Declares):
    """``app.table`` and ``app.aggregate``."""

    @overload
    def table(
        self,
        name: str,
        value: type[V],
        /,
        *,
        default: Callable[[], V] | None = None,
        ttl: Duration | None = None,
        migrate: Callable[[Any], V] | None = None,
        store: StoreKind = ...,
    ) -> Table[str, V]: ...
    @overload
    def table(
        self,
        name: str,
        value: type[V],
        /,
        *,
        key: type[K],
        default: Callable[[], V] | None = None,
        ttl: Duration | None = None,
        migrate: Callable[[Any], V] | None = None,
        store: StoreKind = ...,
    ) -> Table[K, V]: ...
    def table(
        self,
        name: str,
        value: type[Any],
        /,
        *,
        key: type[Any] = str,
        default: Callable[[], Any] | None = None,
        ttl: Duration | None = None,
        migrate: Callable[[Any], Any] | None = None,
        store: StoreKind = "memory",
    ) -> Table[Any, Any]:
        """Declare a table of values of type ``value``: a pydantic model, a ``msgspec.Struct`` or a plain JSON type.

        Keys are those of the records that agents read: text, or ``int`` or ``bytes`` with ``key=``. ``default`` makes
        the value of an absent key. ``ttl`` is how long a value lives after its last write, in event time. ``migrate``
        makes today's value of the JSON of one written under an older type. Changes go to ``<app>-<name>-changelog`` in
        the transaction of the event's outputs: the name is the state's identity.

        A table with ``store="disk"`` may outgrow memory: it is kept in a folder below the setting ``state_dir`` (extra
        ``disk``). After a clean stop a worker goes on with what is there; after any other it is rebuilt from the
        changelog. Changing the store changes nothing of the table's content.
        """
        self._check_state_name(name, "table")
        if key not in (str, int, bytes):
            raise PlanError(f"table {name!r}: keys are str, int or bytes, as record keys are, not {key.__name__}")
        node = TableNode(name, value, key, default, None if ttl is None else to_milliseconds(ttl), migrate, store)
        self._declared.tables[name] = node
        return Table(node)

    def global_table(self, topic: Topic[V, K]) -> Mapping[K, V]:
        """Return the last value of each key of ``topic``, over all its partitions: reference data or configuration.

        Every worker holds all of it, in memory: it is read up to its end before the first event is taken, and followed
        from then on. It can be read wherever user code runs, and never written; a record without a value deletes its
        key. It is not part of the transaction: each worker sees a change a moment after it was written, at no set place
        between events, and an event that is processed again may see a later one. Records without a key, or that do not
        decode, are left out, counted and logged. Partitions that are added to the topic are read after a restart.
        """
        node = self._declared.global_tables.setdefault(topic.name, GlobalTableNode(topic.name))
        return GlobalTable[K, V](node)

    def aggregate(
        self,
        name: str,
        source: Source[Any, K],
        aggregate: Aggregate[A],
        *,
        window: WindowSpec,
        by: str | Sequence[str] = (),
        to: Topic[Out, Any] | None = None,
        emit: Emit = "close",
        output: Callable[[Window[A]], Out | None] | None = None,
    ) -> WindowedTable[K, A]:
        """Count the events of ``source`` by key, over windows of event time.

        An agent whose topics are read together with ``source`` reads the aggregate of its record's key, and a feature
        service can have it as a feature (``windows=``): always as of the event's own place, itself included. ``by``
        names fields of the events that divide a key further: a reader's event has to have them too.

        With ``to``, results are written when a window closes, or with every change. Fields of the topic's type are
        filled by name: ``start``, ``end``, ``value`` (or the window's name), ``key`` (or the name of the source's key
        field), and the fields of ``by``; or ``output`` builds the value, ``None`` leaving it out.

        An event that the aggregate cannot take, since a value is of a wrong type or a function raises, becomes a dead
        letter of step ``name`` and counts nowhere in the window; agents see it all the same. A result that cannot be
        made or written, since ``output`` raises perhaps, becomes a dead letter that names window and key, and no other
        is kept from being written.

        Raises:
            PlanError: the name is taken, events have no such field, or results are to be written when a sliding window
                closes, which it never does.
        """
        self._check_state_name(name, "window")
        if to is not None and emit == "close" and window.kind == "sliding":
            raise PlanError(f'window {name!r}: a sliding window never closes; have its changes written: emit="change"')
        divides = (by,) if isinstance(by, str) else tuple(by)
        _check_fields(name, source.node, (*divides, aggregate.field))
        target = to.name if to is not None else None
        node = WindowNode(name, source.name, aggregate, window, divides, target, emit, output)
        self._declared.windows[name] = node
        return WindowedTable(node)


def _check_fields(window: str, source: TopicNode, wanted: Sequence[Field | None]) -> None:
    """Raise ``PlanError`` if events of a known type lack one of the fields that a window names."""
    from streamserve.codecs.json import codec_for  # costs more than all else that an import of the app needs

    fields: Mapping[str, Any] = {}
    try:
        if source.value_type is not None:
            fields = codec_for(source.value_type).fields
    except PlanError:  # a type that cannot be read is found with its topic
        return
    for field in wanted:
        first = field.partition(".")[0] if isinstance(field, str) else None
        if fields and first is not None and first not in fields and not hasattr(source.value_type, first):
            raise PlanError(
                f"window {window!r}: events of topic {source.name!r} have no field {field!r}: there are"
                f" {', '.join(fields)}; or give a function of the event"
            )
