"""Records as a person or a program reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from streamserve.ops.times import iso
from streamserve.records import RawRecord
from streamserve.state.format import PAYLOAD, is_value_key, to_user_key

__all__ = ["ShownRecord", "shown", "shown_state"]

_COLUMNS = ("partition", "offset", "time", "key", "value")
_DEAD_COLUMNS = ("partition", "offset", "source", "key", "why", "value")


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record, decoded: JSON as data, other text as a string, other bytes as they are.

    ``time`` is the record's Kafka timestamp: ISO 8601, UTC.
    """

    topic: str
    partition: int
    offset: int
    time: str
    key: str | None
    value: Any
    headers: Mapping[str, str]

    @staticmethod
    def columns(*, dead: bool) -> Sequence[str]:
        """Return the columns of a table of records, or of dead letters."""
        return _DEAD_COLUMNS if dead else _COLUMNS

    def row(self, *, dead: bool) -> Sequence[object]:
        """Return what stands under ``columns``."""
        if not dead:
            return (self.partition, self.offset, self.time, self.key, self.text)
        return (self.partition, self.offset, self._source, self.key, self._why, self.text)

    @property
    def text(self) -> str:
        """The value in one line; what is neither JSON nor text by its length."""
        if isinstance(self.value, bytes):
            return f"<{len(self.value)} bytes>"
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)

    def as_data(self) -> dict[str, Any]:
        """Return plain data for JSON; bytes that are neither JSON nor text stand under ``value_base64``."""
        data = asdict(self)
        if isinstance(self.value, bytes):
            data |= {"value": None, "value_base64": base64.b64encode(self.value).decode()}
        return data

    @property
    def _source(self) -> str:
        """Where a dead letter comes from."""
        told = self.headers
        if "source-topic" in told:
            return f"{told['source-topic']}[{told.get('source-partition')}]@{told.get('source-offset')}"
        if "table" in told:
            return f"timer of {told['table']}[{told.get('table-partition')}]"
        return f"window {told.get('window')}"

    @property
    def _why(self) -> str:
        told = self.headers
        return f"{told.get('reason')} at {told.get('step')}: {told.get('message')}"


def shown(record: RawRecord) -> ShownRecord:
    """Return ``record`` as it is shown."""
    return _shown(record, record.key(), record.value())


def shown_state(record: RawRecord) -> ShownRecord:
    """Return a record of a table's changelog as it is shown: under the user's key, without what the engine adds."""
    key, value = record.key(), record.value()
    if key is None or not is_value_key(key):
        return _shown(record, key, value)
    return _shown(record, to_user_key(key), None if value is None else value[PAYLOAD:])


def _shown(record: RawRecord, key: bytes | None, value: bytes | None) -> ShownRecord:
    headers = {name: _text(content or b"") for name, content in record.headers() or ()}
    return ShownRecord(
        record.topic() or "",
        record.partition() or 0,
        record.offset() or 0,
        iso(record.timestamp()[1]),
        None if key is None else _text(key),
        _decoded(value),
        headers,
    )


def _decoded(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> NoReturn:
    """Leave text with NaN or infinities as it is: JSON has no such numbers, and could not be printed again."""
    raise ValueError(constant)


def _text(content: bytes) -> str:
    return content.decode(errors="backslashreplace")
