"""JSON values: pydantic models, msgspec structs, dataclasses and plain JSON types; and raw bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar, cast

import msgspec
from pydantic import TypeAdapter

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.columns import RowWriter, row_writer
from streamserve.codecs.derive import CoreSchema, derive_input, derive_output
from streamserve.codecs.faults import TOMBSTONE, explain, field_names
from streamserve.codecs.resume import map_resuming
from streamserve.codecs.shapes import field_annotations, runtime_type
from streamserve.errors import DecodeError, EncodeError, PlanError

__all__ = ["BytesCodec", "JsonCodec", "PydanticCodec", "StructCodec", "codec_for"]

V = TypeVar("V")

_ATTRIBUTES = attrgetter("__dict__")

_PAUSE = 100
"""Batches that pydantic reads alone after it had to read most of one that was meant for the derived struct."""


class JsonCodec(Generic[V]):
    """What the codecs of JSON values share: batches, faults and the check of what is encoded.

    ``decode`` and ``encode`` take one record or value and raise at its faults. ``decode_fields`` decodes as
    ``decode_many`` does unless a subclass knows better.
    """

    def __init__(
        self,
        value_type: type[V],
        fields: Mapping[str, Any],
        *,
        decode: Callable[[bytes], V],
        encode: Callable[[V], bytes],
    ) -> None:
        self.value_type = value_type
        self.fields = fields
        self._decode = decode
        self._encode = encode
        self._name = getattr(value_type, "__name__", None) or str(value_type)
        self._accepted = runtime_type(value_type)

    def decode_many(self, payloads: Sequence[bytes | None]) -> list[V | DecodeError]:
        """Decode each payload, or give the error it deserves; see ``ValueCodec``."""
        return map_resuming(
            self._decode, cast("Sequence[bytes]", payloads), lambda i, error: self._refusal(payloads[i], error)
        )

    def decode_fields(self, payloads: Sequence[bytes | None]) -> list[Any | DecodeError]:
        """Decode to objects with the attributes of ``value_type``; see ``ValueCodec``."""
        return self.decode_many(payloads)

    def encode_many(self, values: Sequence[V]) -> list[bytes | EncodeError]:
        """Encode each value, or give the error it deserves: another type than ``value_type``, or not valid JSON."""
        if set(map(type, values)) <= {self._accepted}:
            return map_resuming(self._encode, values, lambda i, error: self._unwritable(values[i], error))
        return [self._encode_checked(value) for value in values]

    def decode_one(self, payload: bytes) -> V:
        """Decode one payload; see ``ValueCodec``."""
        try:
            return self._decode(payload)
        except Exception as error:
            refusal = self._refusal(payload, error)
        raise refusal

    def encode_one(self, value: V) -> bytes:
        """Encode one value; see ``ValueCodec``."""
        if type(value) is self._accepted:
            try:
                return self._encode(value)
            except Exception as error:
                refusal = self._unwritable(value, error)
            raise refusal
        encoded = self._encode_checked(value)
        if isinstance(encoded, EncodeError):
            raise encoded
        return encoded

    def encode_row(self, row: Sequence[Any]) -> bytes | EncodeError:
        """Build the value from its fields, in the order of ``fields``, checking them, and encode it."""
        try:
            value = self._build(dict(zip(self.fields, row, strict=True)))
        except Exception as error:
            return EncodeError(f"not a valid {self._name}: {explain(error, names=self._names())}")
        return self._encode_checked(value)

    def row_writer(self) -> RowWriter | None:
        """Return a writer of rows in the order of ``fields``, where a struct can write what this type would."""
        return None

    def _build(self, fields: dict[str, Any]) -> V:
        """Return the value that has these fields, checked; raise where the type refuses one."""
        raise NotImplementedError

    def _names(self) -> frozenset[str]:
        """Return every name that a fault may mention."""
        return frozenset(self.fields)

    def _refusal(self, payload: bytes | None, error: Exception) -> DecodeError:
        # The cause is not chained: its text and its attributes hold the payload.
        if payload is None:
            return DecodeError(f"not a valid {self._name}: {TOMBSTONE}")
        return DecodeError(f"not a valid {self._name}: {explain(error, payload, names=self._names())}")

    def _encode_checked(self, value: V) -> bytes | EncodeError:
        if not isinstance(value, self._accepted):
            return EncodeError(f"expected {self._name}, received {type(value).__name__}: return the topic's type")
        try:
            return self._encode(value)
        except Exception as error:
            return self._unwritable(value, error)

    def _rebuild(self, value: V) -> EncodeError | None:
        """Validate a value that was built or changed without it, to name the field at fault."""
        try:
            held = cast("dict[str, Any]", value) if isinstance(value, dict) else _attributes(value, self.fields)
            self._build(held)
        except Exception as error:
            return EncodeError(f"not a valid {self._name}: {explain(error, names=self._names())}")
        return None

    def _unwritable(self, value: V, error: Exception) -> EncodeError:
        if self.fields and (refused := self._rebuild(value)):
            return refused
        return EncodeError(
            f"this {type(value).__name__} cannot be written as JSON ({type(error).__name__}): "
            f"a field holds something else than {self._name} says"
        )


class StructCodec(JsonCodec[V]):
    """The values of a ``msgspec.Struct``: what msgspec accepts and writes is the contract.

    As everywhere in msgspec, encoding does not check that fields hold what their annotations say. Rows are checked: a
    row is refused when what it writes could not be read back.
    """

    def __init__(self, value_type: type[V]) -> None:
        struct = cast("type[msgspec.Struct]", value_type)
        try:
            decoder = msgspec.json.Decoder(value_type)
            fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
        except (TypeError, ValueError, NameError) as error:
            raise _unusable(value_type, error) from error
        super().__init__(value_type, fields, decode=decoder.decode, encode=msgspec.json.Encoder().encode)

    def row_writer(self) -> RowWriter | None:
        """Return a writer of rows, unless fields are not flat or the struct cannot be built by position alone."""
        struct = cast("type[msgspec.Struct]", self.value_type)
        if struct.__match_args__ != struct.__struct_fields__ or hasattr(struct, "__post_init__"):
            return None
        return row_writer(struct)

    def _build(self, fields: dict[str, Any]) -> V:
        value = cast("Callable[..., V]", self.value_type)(**fields)
        return self._decode(self._encode(value))


class PydanticCodec(JsonCodec[V]):
    """The values of a pydantic model, or of any type that ``pydantic.TypeAdapter`` takes.

    Values are validated from JSON in the model's own mode, lax unless it says strict, as ``model_validate_json`` does,
    and written as ``model_dump_json`` does. Where a struct can be derived from the model, ``decode_fields`` decodes
    through it; ``datetime`` values are then equal to pydantic's but carry ``timezone`` objects of the standard library.
    """

    def __init__(self, value_type: type[V]) -> None:
        try:
            adapter = TypeAdapter[V](value_type)
            self.core_schema: CoreSchema = cast("CoreSchema", adapter.core_schema)
            validator, serializer = adapter.validator, adapter.serializer
            fields = field_annotations(value_type)
        except Exception as error:
            raise _unusable(value_type, error) from error
        to_json = functools.partial(serializer.to_json, warnings="error")
        super().__init__(value_type, fields, decode=validator.validate_json, encode=to_json)
        self._adapter = adapter
        self._validate = validator.validate_python
        self._derived = derive_input(self.core_schema)
        self._decode_derived = None if self._derived is None else msgspec.json.Decoder(self._derived.struct).decode
        self._batches_to_pause = 0
        struct = derive_output(self.core_schema)
        self._writer = None if struct is None or struct.__struct_fields__ != tuple(fields) else row_writer(struct)
        self._row = _getter(tuple(fields))

    def decode_fields(self, payloads: Sequence[bytes | None]) -> list[Any | DecodeError]:
        """Decode through the derived struct; pydantic reads what the struct refuses or may read differently."""
        if self._derived is None or self._decode_derived is None:
            return self.decode_many(payloads)
        if self._batches_to_pause > 0:
            self._batches_to_pause -= 1
            return self.decode_many(payloads)
        suspects = self._derived.screen.suspects(payloads)
        decoded, refused = self._decode_unsuspected(self._decode_derived, payloads, suspects)
        if refused * 2 > len(payloads):
            self._batches_to_pause = _PAUSE
        return decoded

    def _decode_unsuspected(
        self, decode: Callable[[bytes], Any], payloads: Sequence[bytes | None], suspects: set[int]
    ) -> tuple[list[Any | DecodeError], int]:
        """Decode by ``decode``, and by pydantic the suspects and what it refuses; tell how many those were."""
        refused = 0

        def ask_pydantic(index: int, _: Exception) -> V | DecodeError:
            nonlocal refused
            refused += 1
            return self.decode_many(payloads[index : index + 1])[0]

        screened = cast("Sequence[bytes]", payloads)
        if suspects:  # ``None`` is refused and so reaches pydantic
            hidden = [None if index in suspects else payload for index, payload in enumerate(payloads)]
            screened = cast("Sequence[bytes]", hidden)
        return map_resuming(decode, screened, ask_pydantic), refused

    def encode_many(self, values: Sequence[V]) -> list[bytes | EncodeError]:
        """Encode each value as ``model_dump_json`` does, or give the error it deserves."""
        if self._writer is not None and set(map(type, values)) == {self._accepted}:
            try:
                columns = list(zip(*map(self._row, map(_ATTRIBUTES, values)), strict=True))
            except KeyError:  # built without validation, and a field is missing
                return super().encode_many(values)
            return self._writer.write(columns, lambda index: self._encode_checked(values[index]))
        return super().encode_many(values)

    def row_writer(self) -> RowWriter | None:
        """Return a writer of rows, where an output struct can be derived from the model and is flat."""
        return self._writer

    def _build(self, fields: dict[str, Any]) -> V:
        return self._validate(fields, by_alias=False, by_name=True)

    @functools.cached_property
    def _all_names(self) -> frozenset[str]:
        try:
            return field_names(self._adapter.json_schema()) | self.fields.keys()
        except Exception:  # some types have no JSON Schema
            return frozenset(self.fields)

    def _names(self) -> frozenset[str]:
        return self._all_names


class BytesCodec:
    """The values of a topic without a value type: the bytes themselves.

    >>> BytesCodec().decode_many([b"raw", None])
    [b'raw', DecodeError('empty value (tombstone)')]
    """

    def __init__(self) -> None:
        self.value_type = bytes
        self.fields: Mapping[str, Any] = {}

    def decode_many(self, payloads: Sequence[bytes | None]) -> list[bytes | DecodeError]:
        """Return the payloads, and an error for each tombstone."""
        return [DecodeError(TOMBSTONE) if payload is None else payload for payload in payloads]

    def decode_fields(self, payloads: Sequence[bytes | None]) -> list[Any | DecodeError]:
        """Return the payloads, and an error for each tombstone."""
        return self.decode_many(payloads)

    def decode_one(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def encode_one(self, value: bytes) -> bytes:
        """Return the value; raise ``EncodeError`` if it is not ``bytes``."""
        encoded = _as_bytes(value)
        if isinstance(encoded, EncodeError):
            raise encoded
        return encoded

    def encode_many(self, values: Sequence[bytes]) -> list[bytes | EncodeError]:
        """Return the values, and an error for each that is not ``bytes``."""
        return [_as_bytes(value) for value in values]


def codec_for(value_type: type[V]) -> ValueCodec[V]:
    """Return the codec for a topic's value type.

    >>> codec_for(int).decode_many([b"1", b"x"])
    [1, DecodeError('not a valid int: not JSON: expected value at line 1 column 1')]

    Raises:
        PlanError: neither msgspec nor pydantic can read the type from JSON.
    """
    if value_type is bytes:
        return cast("ValueCodec[V]", BytesCodec())
    if issubclass(runtime_type(value_type), msgspec.Struct):
        return StructCodec(value_type)
    return PydanticCodec(value_type)


def _as_bytes(value: object) -> bytes | EncodeError:
    if isinstance(value, bytes):
        return value
    return EncodeError(f"expected bytes, received {type(value).__name__}: give the topic a value type, or send bytes")


def _attributes(value: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return a function that gets the values under ``names`` as a tuple, also when there is one or none."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)


def _unusable(value_type: object, error: Exception) -> PlanError:
    return PlanError(
        f"no JSON codec for {value_type!r} ({type(error).__name__}: {error}). "
        "Use a pydantic model, a msgspec.Struct, a dataclass or plain JSON types."
    )
