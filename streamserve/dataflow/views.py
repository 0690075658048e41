"""Records as user code sees them, built only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import RecordBatch, coordinates_of
from streamserve.dataflow.plan import TopicNode
from streamserve.records import Record, to_datetime


class RecordView:
    """Builds the ``Record`` of a row."""

    def __init__(self, topics: Mapping[str, TopicNode], keys: Mapping[str, KeyCodec[Any]]) -> None:
        self._key_of = {name: _key_reader(node, keys[name]) for name, node in topics.items()}

    def __call__(self, batch: RecordBatch, row: int) -> Record[Any, Any]:
        """Return row ``row`` of ``batch`` as a record.

        Raises:
            DecodeError: the record's key is not text.
        """
        raw, value = batch.records[row], batch.values[row]
        topic, partition, offset = coordinates_of(raw)
        key = self._key_of[topic](raw.key(), value)
        return Record(value, key, to_datetime(raw.timestamp()[1]), topic, partition, offset, raw.headers() or ())


def _key_reader(node: TopicNode, codec: KeyCodec[Any]) -> Callable[[bytes | None, Any], Any]:
    """Return how a topic's keys are read: bytes as they are, text, or computed from the value as on writing."""
    select = node.key
    if node.value_type is None:
        return lambda key, _: key
    if callable(select):
        return lambda key, value: None if key is None else select(value)
    return lambda key, _: codec.decode_key(key)
