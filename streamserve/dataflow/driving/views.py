"""Records as user code sees them, built only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import RecordBatch, coordinates_of
from streamserve.dataflow.planning.nodes import JoinNode, TopicNode
from streamserve.records import RawRecord, Record, to_datetime


class RecordView:
    """Builds the ``Record`` of a row."""

    def __init__(self, topics: Mapping[str, TopicNode], keys: Mapping[str, KeyCodec[Any]]) -> None:
        self._key_of = {name: key_reader(node, keys[name]) for name, node in topics.items()}

    def __call__(self, batch: RecordBatch, row: int) -> Record[Any, Any]:
        """Return row ``row`` of ``batch`` as a record.

        Raises:
            DecodeError: the record's key is not text.
        """
        return self.record(batch.records[row], batch.values[row])

    def record(self, raw: RawRecord, value: Any) -> Record[Any, Any]:
        """Return ``raw``, whose event is ``value``, as a record."""
        topic, partition, offset = coordinates_of(raw)
        key = self._key_of[topic](raw.key(), value)
        return Record(value, key, to_datetime(raw.timestamp()[1]), topic, partition, offset, raw.headers() or ())


class PairView:
    """Builds the ``Record`` of a pair: its value is the pair, all else is as in the record that completed it."""

    def __init__(self, node: JoinNode, view: RecordView) -> None:
        self._left = node.left
        self._view = view

    def __call__(self, batch: RecordBatch, row: int) -> Record[Any, Any]:
        """Return row ``row`` of ``batch`` as a record.

        Raises:
            DecodeError: the record's key is not text.
        """
        raw, pair = batch.records[row], batch.values[row]
        own = pair[0] if raw.topic() == self._left else pair[1]
        return replace(self._view.record(raw, own), value=pair)


def key_reader(node: TopicNode, codec: KeyCodec[Any]) -> Callable[[bytes | None, Any], Any]:
    """Return how a topic's keys are read: bytes as they are, text, or computed from the value as on writing."""
    select = node.key
    if node.value_type is None:
        return lambda key, _: key
    if callable(select):
        return lambda key, value: None if key is None else select(value)
    return lambda key, _: codec.decode_key(key)
