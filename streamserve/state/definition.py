"""What a table is, the same for all of its partitions, and how its values become bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from streamserve.errors import ConfigurationError, EncodeError, MissingKey, OversizeError, RecordError

__all__ = ["TableDefinition"]

V = TypeVar("V")

_SAFE_TO_QUOTE = (RecordError, msgspec.MsgspecError, TypeError)
"""Errors whose text names types, fields and rules; others may repeat the value."""


@dataclass(frozen=True, slots=True)
class TableDefinition(Generic[V]):
    """A table's name, codec and rules.

    ``decode`` and ``encode`` are each other's inverse and raise on what the value's type does not admit. ``default``
    makes the value of an absent key. ``ttl_ms`` is how long a value lives after its last write, in event time. Say
    ``is_frozen`` when values cannot be changed in place (``is_immutable``): then no value needs watching. ``migrate``
    takes the plain JSON object of a value that ``decode`` refuses, written under an older model, and returns the value
    of today. ``max_bytes`` is how long an encoded value may be, since a changelog takes no larger messages. ``exact``
    is a type whose values are read back as they were written, so that nobody has to see.
    """

    name: str
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    default: Callable[[], V] | None = None
    ttl_ms: int | None = None
    is_frozen: bool = False
    migrate: Callable[[Any], V] | None = None
    max_bytes: int | None = None
    exact: type | None = None

    def __post_init__(self) -> None:
        if self.ttl_ms is not None and self.ttl_ms <= 0:
            raise ConfigurationError(f"table {self.name!r}: ttl must be longer than nothing. Leave it out to keep all.")

    def new_value(self) -> V:
        """Return the default.

        Raises:
            MissingKey: the table has none.
        """
        if self.default is None:
            raise MissingKey(
                f"table {self.name!r} has no value for this key and no default: ask with `in` or get() first, "
                "or declare the table with default="
            )
        return self.default()

    def to_payload(self, value: V) -> bytes:
        """Encode ``value``.

        Raises:
            EncodeError: the table's type does not admit it.
            OversizeError: it is longer than ``max_bytes``.
        """
        try:
            payload = self.encode(value)
        except Exception as error:
            raise EncodeError(
                f"table {self.name!r}: a value of type {type(value).__name__} does not encode: {_describe(error)}"
            ) from _quotable(error)
        if self.max_bytes is not None and len(payload) > self.max_bytes:
            raise OversizeError(
                f"table {self.name!r}: a value of {len(payload)} bytes, but its changelog takes {self.max_bytes}: raise"
                " the topic's max.message.bytes or keep less under one key"
            )
        return payload

    def to_value(self, payload: bytes) -> V:
        """Decode ``payload``, through ``migrate`` where an older model wrote it.

        Raises:
            ConfigurationError: neither can read it.
        """
        try:
            return self.decode(payload)
        except Exception as error:
            if self.migrate is not None:
                return self._migrated(self.migrate, payload)
            raise self._unreadable("a stored value does not fit the table's type any more", error) from _quotable(error)

    def read_back(self, value: V, payload: bytes) -> V:
        """Return ``value`` as it will be read from ``payload``, its encoded form.

        Raises:
            EncodeError: the table's type does not admit what was written, such as the ``null`` of a NaN: every event of
                the key would fail on it, after a restart too.
        """
        if type(value) is self.exact:
            return value
        try:
            return self.decode(payload)
        except Exception as error:
            raise EncodeError(
                f"table {self.name!r}: a value of type {type(value).__name__} could not be read back:"
                f" {_describe(error)}. Let the table's type admit it, or set another value"
            ) from _quotable(error)

    def changed_in_place(self, value: V, before: bytes) -> bool:
        """Tell whether ``value`` is another than it was when ``before`` was read or written.

        Where an older model wrote ``before``, its own bytes may differ though nobody changed the value: then what it
        decodes to is compared.
        """
        after = self.to_payload(value)
        return after != before and after != self.to_payload(self.to_value(before))

    def _migrated(self, migrate: Callable[[Any], V], payload: bytes) -> V:
        try:
            return migrate(msgspec.json.decode(payload))
        except Exception as error:
            raise self._unreadable("migrate= raised on a stored value", error) from _quotable(error)

    def _unreadable(self, what: str, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"table {self.name!r}: {what}: {_describe(error)}. Give new fields defaults, pass migrate= to make today's "
            "value from the old JSON, or delete the table's changelog topic to start it anew."
        )


def _describe(error: Exception) -> str:
    return str(error).rstrip(".") if isinstance(error, _SAFE_TO_QUOTE) else type(error).__name__


def _quotable(error: Exception) -> Exception | None:
    return error if isinstance(error, _SAFE_TO_QUOTE) else None
