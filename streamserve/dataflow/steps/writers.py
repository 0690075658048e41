"""Encodes what agents made for a topic: values, keys, and which input each belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import Failure, InputRows, OutputColumns, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.driver import Outcomes
from streamserve.dataflow.driving.effects import Send
from streamserve.errors import EncodeError, RecordError
from streamserve.records import Emission


class TopicWriter:
    """Encodes values and keys of one topic."""

    def __init__(self, topic: str, codec: ValueCodec[Any], keys: KeyCodec[Any]) -> None:
        self.topic = topic
        self.codec = codec
        self.keys = keys

    def encode(self, values: Sequence[Any]) -> tuple[list[bytes | EncodeError], list[bytes | None]]:
        """Return the bytes of each value, or its error, and its key."""
        payloads = self.codec.encode_many(values)
        if EncodeError in set(map(type, payloads)):
            return payloads, self._keys_of_good(values, payloads)
        try:
            return payloads, self.keys.encode_keys(values)
        except EncodeError:
            return payloads, self._keys_of_good(values, payloads)

    def _keys_of_good(self, values: Sequence[Any], payloads: list[bytes | EncodeError]) -> list[bytes | None]:
        """Return keys one by one; a value whose key fails gets the error as its payload."""
        keys: list[bytes | None] = []
        for row, value in enumerate(values):
            key: bytes | None = None
            if not isinstance(payloads[row], EncodeError):
                try:
                    key = self.keys.encode_key(value)
                except EncodeError as error:
                    payloads[row] = error
            keys.append(key)
        return keys

    def emission(self, send: Send) -> Emission:
        """Return one value sent by ``topic.send``.

        Raises:
            EncodeError: the value or its key does not fit the topic.
        """
        payload = self.codec.encode_many([send.value])[0]
        if isinstance(payload, EncodeError):
            raise payload
        key = self.keys.encode_key(send.value) if send.key is None else self.keys.encode_column([send.key])[0]
        return Emission(self.topic, payload, key, send.headers, timestamp_ms=send.timestamp_ms)


class OutcomeWriter:
    """Turns the outcomes of events into messages, in order of the input; each goes to all topics of ``to``."""

    def __init__(self, step: str, to: Sequence[str], writers: Mapping[str, TopicWriter]) -> None:
        self._step = step
        self._to = [writers[topic] for topic in to]
        self._writers = writers

    def write(self, batch: RecordBatch, outcomes: Outcomes) -> StepOutput:
        """Encode all outputs; an event of which one does not encode has that error as its only outcome."""
        output = StepOutput(self._step)
        emissions = self._sends(outcomes)
        columns = self._columns(batch, outcomes)
        for row in sorted(emissions.keys() - outcomes.errors.keys()):
            origin = coordinates_of(batch.records[row])
            output.messages.extend((emission, origin) for emission in emissions[row])
        output.columns.extend(columns)
        output.failures = [Failure(batch.records[row], outcomes.errors[row]) for row in sorted(outcomes.errors)]
        return output

    def _sends(self, outcomes: Outcomes) -> dict[int, list[Emission]]:
        emissions: dict[int, list[Emission]] = {}
        for row, sends in list(outcomes.sends.items()):
            try:
                emissions[row] = [self._writer(send.topic).emission(send) for send in sends]
            except RecordError as error:
                outcomes.fail(row, error)
        return emissions

    def _writer(self, topic: str) -> TopicWriter:
        if topic not in self._writers:
            raise EncodeError(f"step {self._step!r}: topic {topic!r} belongs to another app")
        return self._writers[topic]

    def _columns(self, batch: RecordBatch, outcomes: Outcomes) -> list[OutputColumns]:
        """Return the encoded outputs, topic by topic; what one topic refuses goes to none."""
        rows, values = _flattened(outcomes)
        if not rows:
            return []
        made: list[OutputColumns] = []
        failed: dict[int, EncodeError] = {}
        for writer in self._to:
            payloads, keys = writer.encode(values)
            failed |= {rows[index]: error for index, error in enumerate(payloads) if isinstance(error, EncodeError)}
            made.append(OutputColumns(writer.topic, payloads, keys, InputRows(batch, rows)))  # pyright: ignore[reportArgumentType] - no errors are left in what is returned
        if not failed:
            return made
        for row, error in failed.items():
            outcomes.fail(row, error)
        return self._columns(batch, outcomes)


def _flattened(outcomes: Outcomes) -> tuple[Sequence[int], list[Any]]:
    """Return the outputs in the input's order, and the row of each."""
    rows: Sequence[int] = range(len(outcomes.outputs))
    lists = list(filter(None, outcomes.outputs))
    if len(lists) < len(rows):
        rows = [row for row, outputs in enumerate(outcomes.outputs) if outputs]
    values = list(chain.from_iterable(lists))
    if len(values) > len(rows):
        rows = [row for row, outputs in zip(rows, lists, strict=True) for _ in outputs]
    return rows, values
