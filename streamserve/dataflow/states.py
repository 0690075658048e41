"""Makes the tables and windows of a partition group, empty, ready to be loaded from their changelogs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.json import codec_for
from streamserve.dataflow.groups import Group
from streamserve.dataflow.plan import Plan, TableNode
from streamserve.errors import DecodeError, EncodeError
from streamserve.state.base import ChangelogState
from streamserve.state.definition import TableDefinition
from streamserve.state.immutable import is_immutable
from streamserve.state.store import MemoryStore
from streamserve.state.table import TableState
from streamserve.state.windows import WindowedState


class States:
    """Makes what lives with a partition group, by name."""

    def __init__(self, plan: Plan) -> None:
        self._definitions: Mapping[str, TableDefinition[Any]] = {
            name: definition_of(node) for name, node in plan.tables.items()
        }
        self._windows = plan.windows

    def new(self, group: Group) -> dict[str, ChangelogState]:
        """Return the tables and windows of ``group``."""
        states: dict[str, ChangelogState] = {
            name: TableState(self._definitions[name], MemoryStore()) for name in group.part.tables
        }
        for name in group.part.windows:
            node = self._windows[name]
            states[name] = WindowedState(name, node.window, node.aggregate)
        return states


def definition_of(node: TableNode) -> TableDefinition[Any]:
    """Return what a table is.

    Raises:
        PlanError: its values cannot be written as JSON.
    """
    codec: ValueCodec[Any] = codec_for(node.value_type)
    return TableDefinition(
        node.name,
        _encoder(codec),
        _decoder(codec),
        node.default,
        node.ttl_ms,
        is_frozen=is_immutable(node.value_type),
        migrate=node.migrate,
    )


def _encoder(codec: ValueCodec[Any]) -> Callable[[Any], bytes]:
    encode_many = codec.encode_many

    def encode(value: Any) -> bytes:
        (payload,) = encode_many((value,))
        if isinstance(payload, EncodeError):
            raise payload
        return payload

    return encode


def _decoder(codec: ValueCodec[Any]) -> Callable[[bytes], Any]:
    decode_many = codec.decode_many

    def decode(payload: bytes) -> Any:
        (value,) = decode_many((payload,))
        if isinstance(value, DecodeError):
            raise value
        return value

    return decode
