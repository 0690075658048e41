"""Global tables: whole topics that every worker holds, read by themselves beside the app's transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.driving.views import key_reader
from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import Runtime
from streamserve.errors import MissingKey, TopicError
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogColumns, ChangelogReader
from streamserve.observer import Observer
from streamserve.settings import Settings

__all__ = ["GlobalRows", "GlobalTables"]


class GlobalRows:
    """The last value of each key of one topic.

    >>> from streamserve.codecs.json import codec_for
    >>> rows = GlobalRows(TopicNode("rates", float, key=str), codec_for(float), KeyCodec(str))
    >>> rows.take([b"EUR", b"USD", b"USD", b""], [b"1.1", b"one", b"1", b"7"]), dict(rows.items())
    (2, {'1.1': 1.1, '1.0': 1.0})
    """

    def __init__(self, node: TopicNode, codec: ValueCodec[Any], keys: KeyCodec[Any]) -> None:
        self._topic = node.name
        self._codec = codec
        self._keys = keys
        self._key_of: Callable[[bytes | None, Any], Any] = key_reader(node, keys)
        self._values: dict[bytes, Any] = {}

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._values)

    def get(self, key: Any) -> Any:
        """Return the value of ``key``.

        Raises:
            MissingKey: there is none.
        """
        (name,) = self._keys.encode_column([key])
        try:
            return self._values[name or b""]
        except KeyError:
            text = f"global table {self._topic!r} has no value for this key: ask with `in` or get() first"
            raise MissingKey(text) from None

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over keys and values, as they are now."""
        return ((self._key_of(name, value), value) for name, value in list(self._values.items()))

    def take(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        """Take records in the order of the topic; ``None`` deletes. Return how many were refused.

        Refused is what has no key, or does not decode: the key's earlier value stays.
        """
        refused = 0
        kept = [row for row, value in enumerate(values) if value is not None]
        decoded = dict(zip(kept, self._codec.decode_many([values[row] for row in kept]), strict=True))
        for row, key in enumerate(keys):
            value = decoded.get(row)
            if not key or isinstance(value, Exception):
                refused += 1
            elif row in decoded:
                self._values[key] = value
            else:
                self._values.pop(key, None)
        return refused


class GlobalTables:
    """All global tables of an app: ``step`` reads them, first to their ends, then as they go on.

    Raises (from ``step``):
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses the reader, or a topic is gone.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        calls: Calls,
        runtime: Runtime,
        partitions: Mapping[str, int],
        observer: Observer,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._calls = calls
        self._observer = observer
        self._partitions = partitions
        self._rows = {
            name: GlobalRows(plan.topics[name], runtime.codecs[name], runtime.keys[name]) for name in plan.global_tables
        }
        for name, node in plan.global_tables.items():
            node.binding.runtime = self._rows[name]
        self._reader: ChangelogReader | None = None
        self.loaded = not plan.global_tables
        """Whether every table was read up to the end that it had at the start."""

    def step(self) -> None:
        """Read on: for up to 50 ms or so until everything is loaded, then what is at hand."""
        if not self._rows:
            return
        reader = self._reader or self._open()
        columns = reader.follow() if self.loaded else reader.step()
        self._take(columns or ())
        if not self.loaded:
            self._observer.restoring(*reader.progress())
            self.loaded = columns is None

    def _open(self) -> ChangelogReader:
        self._reader = ChangelogReader(self._plan.app, self._settings, self._calls)
        for name in self._rows:
            if name not in self._partitions:
                raise TopicError(f"topic {name!r} does not exist: 'streamserve topics create MODULE:APP' creates it")
        places = [(name, number) for name in self._rows for number in range(self._partitions[name])]
        self._reader.request(dict.fromkeys(places, 0), follows=True)
        return self._reader

    def _take(self, columns: Sequence[ChangelogColumns]) -> None:
        refused = dict.fromkeys((column.place[0] for column in columns), 0)
        for (topic, _), keys, values in columns:
            refused[topic] += self._rows[topic].take(keys, values)
        for topic, records in refused.items():
            self._observer.global_table(topic, len(self._rows[topic]), records)

    def close(self) -> None:
        """Let go of the reader; the tables answer no more."""
        for node in self._plan.global_tables.values():
            node.binding.runtime = None
        if self._reader is not None:
            self._reader.close()
