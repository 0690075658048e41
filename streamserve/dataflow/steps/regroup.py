"""Writes events under another key to an internal topic, from which another part of the app reads them again."""

from __future__ import annotations

from collections.abc import Sequence

from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.arriving.channels import headers_from
from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.planning.nodes import RegroupNode
from streamserve.dataflow.planning.plan import part_name
from streamserve.errors import EncodeError
from streamserve.records import Emission


class RegroupStep:
    """Forwards the records of one topic as they are: value, headers, timestamp; only the key is another."""

    def __init__(self, node: RegroupNode) -> None:
        self.name = part_name(f"regroup-{node.name}")
        self._node = node
        self._sources = frozenset([node.source])
        self._keys: KeyCodec[object] = KeyCodec(node.key)

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return one message for each record; an event whose key cannot be taken has failed."""
        selected = batch.select(self._sources)
        output = StepOutput(self.name)
        for row, key in enumerate(self._encoded(selected)):
            record = selected.records[row]
            if isinstance(key, EncodeError):
                output.failures.append(Failure(record, key))
                continue
            headers = headers_from(selected.partitions[row], record.headers() or ())
            timestamp_ms = record.timestamp()[1]
            message = Emission(self._node.topic, record.value(), key, headers, timestamp_ms=timestamp_ms)
            output.messages.append((message, coordinates_of(record)))
        return output

    def _encoded(self, batch: RecordBatch) -> Sequence[bytes | EncodeError | None]:
        try:
            return self._keys.encode_keys(batch.values)
        except EncodeError:
            return [self._encoded_one(value) for value in batch.values]

    def _encoded_one(self, value: object) -> bytes | EncodeError | None:
        try:
            return self._keys.encode_key(value)
        except EncodeError as error:
            return error
