from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field, field_validator
from typing_extensions import TypedDict

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.json import BytesCodec, JsonCodec, PydanticCodec, codec_for
from streamserve.errors import DecodeError, EncodeError, PlanError

VALUE = "hunter2"


class Flight(BaseModel):
    flight_id: str = Field(min_length=3)
    delay: float | None = None
    at: datetime | None = Field(default=None, alias="scheduled")


class Narrow(BaseModel):
    number: int


class Wide(Narrow):
    more: str = "more"

    @computed_field
    @property
    def double(self) -> int:
        return self.number * 2


class Plane(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    tail_number: str
    seats: int = 0


@dataclass
class Weather:
    origin: str
    wind: float | None = None


class Movement(TypedDict):
    origin: str


class Moody(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _moody(cls, value: int) -> int:
        if value == 1:
            raise ValueError(f"{VALUE} is not allowed")
        if value == 2:
            raise RuntimeError(VALUE)
        return value


def codec(value_type: Any) -> JsonCodec[Any]:
    found = codec_for(cast("type[Any]", value_type))
    assert isinstance(found, JsonCodec)
    return found


DECODERS: dict[str, Callable[[JsonCodec[Any]], Callable[[list[bytes | None]], list[Any]]]] = {
    "decode_many": lambda any_codec: any_codec.decode_many,
    "decode_fields": lambda any_codec: any_codec.decode_fields,
}


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Callable[[Any], Callable[[list[bytes | None]], list[Any]]]:
    return lambda value_type: DECODERS[request.param](codec(value_type))


@pytest.mark.parametrize(
    ("value_type", "document", "value"),
    [
        (Flight, b'{"flight_id":"UA1","delay":"1.5"}', Flight(flight_id="UA1", delay=1.5)),
        (Plane, b'{"tailNumber":"N1"}', Plane("N1")),
        (Weather, b'{"origin":"EWR","wind":3}', Weather("EWR", 3.0)),
        (Movement, b'{"origin":"EWR"}', {"origin": "EWR"}),
        (int, b" 7", 7),
        (dict[str, Any], b'{"a":[1,null]}', {"a": [1, None]}),
        (int | None, b"null", None),
    ],
)
def test_each_kind_of_type_gets_instances_of_itself(value_type: Any, document: bytes, value: object) -> None:
    assert codec(value_type).decode_many([document]) == [value]


def test_faulty_records_are_errors_at_their_places_and_leave_the_rest_unharmed(decoder: Any) -> None:
    good = b'{"flight_id":"UA1"}'
    batch = [None, good, b"", good, good, b'{"flight_id":"x"}', b"\xff", good, b"{"]
    decoded = decoder(Flight)(batch)
    assert [isinstance(value, DecodeError) for value in decoded] == [payload is not good for payload in batch]
    assert {value.flight_id for value in decoded if not isinstance(value, DecodeError)} == {"UA1"}


@pytest.mark.parametrize(
    ("value_type", "document", "text"),
    [
        (Flight, None, "not a valid Flight: empty value (tombstone)"),
        (Flight, b"", "not a valid Flight: not JSON: no bytes"),
        (Flight, b'{"flight_id":"\xff"}', "not a valid Flight: not UTF-8 at byte 14"),
        (Flight, b"{", "not a valid Flight: not JSON: EOF while parsing an object at line 1 column 1"),
        (Flight, b"{}", "not a valid Flight: flight_id: Field required (missing)"),
        (Flight, b'{"flight_id":"a"}', "flight_id: String should have at least 3 characters (string_too_short)"),
        (Flight, b'{"flight_id":"abc","scheduled":"x"}', "scheduled: Input should be a valid datetime"),
        (Plane, None, "not a valid Plane: empty value (tombstone)"),
        (Plane, b"{", "not a valid Plane: Input data was truncated"),
        (Plane, b"{x", "not a valid Plane: not JSON: "),
        (Plane, b'{"tailNumber":"a","hunter2":1}', "not a valid Plane: Object contains unknown field"),
        (Plane, b'{"tailNumber":3}', "not a valid Plane: Expected `str`, got `int` - at `$.tailNumber`"),
        (Moody, b'{"number":1}', "not a valid Moody: number: (value_error)"),
        (Moody, b'{"number":2}', "not a valid Moody: raised RuntimeError"),
        (int, b'"hunter2"', "not a valid int: Input should be a valid integer"),
    ],
)
def test_decode_errors_name_field_and_rule_in_clear_words(
    decoder: Any, value_type: Any, document: bytes | None, text: str
) -> None:
    (error,) = decoder(value_type)([document])
    assert isinstance(error, DecodeError)
    assert text in str(error)
    assert VALUE not in str(error)
    assert error.__cause__ is None


@given(st.lists(st.sampled_from([b'{"flight_id":"UA1"}', b"{}", None, b'{"flight_id":123}'])))
@settings(deadline=None)
def test_batches_keep_length_and_order(batch: list[bytes | None]) -> None:
    flights = codec(Flight)
    one_by_one = [str(flights.decode_many([payload])[0]) for payload in batch]
    assert [str(value) for value in flights.decode_many(batch)] == one_by_one


def test_a_topic_whose_records_suit_pydantic_alone_is_read_by_pydantic_for_a_while() -> None:
    flights = codec(Flight)
    lax, plain = b'{"flight_id":"UA1","delay":"1"}', b'{"flight_id":"UA1","delay":1}'
    assert not isinstance(flights.decode_fields([plain])[0], Flight)
    flights.decode_fields([lax, lax])
    assert isinstance(flights.decode_fields([plain])[0], Flight)
    for _ in range(200):
        last = flights.decode_fields([plain])[0]
    assert not isinstance(last, Flight)  # pyright: ignore[reportPossiblyUnboundVariable]


FLOATS = st.floats() | st.sampled_from([1e16, -1e16, 1e-5, math.inf, math.nan])


@given(st.lists(st.builds(Flight, flight_id=st.text(min_size=3), delay=st.none() | FLOATS, scheduled=st.datetimes())))
@settings(deadline=None)
def test_models_are_written_as_model_dump_json_writes_them(flights: list[Flight]) -> None:
    assert codec(Flight).encode_many(flights) == [flight.model_dump_json().encode() for flight in flights]


@pytest.mark.parametrize(
    "value",
    [
        Wide(number=3),
        Narrow.model_construct(),
        Weather("EWR"),
        Plane("N1"),
        Movement(origin="EWR"),
        7,
        {"a": [1]},
    ],
)
def test_encoded_values_read_back_equal(value: Any) -> None:
    value_type = cast("Any", Movement if value == {"origin": "EWR"} else type(value))
    (encoded,) = codec(value_type).encode_many([value])
    assert isinstance(encoded, bytes)
    if not isinstance(value, Narrow):
        assert codec(value_type).decode_many([encoded]) == [value]
    else:
        assert encoded == value.model_dump_json().encode()


def test_a_value_of_a_subclass_is_written_as_the_topics_type() -> None:
    assert codec(Narrow).encode_many([Wide(number=3), Narrow(number=4)]) == [b'{"number":3}', b'{"number":4}']


@pytest.mark.parametrize(
    ("value_type", "value", "text"),
    [
        (Flight, Narrow(number=1), "expected Flight, received Narrow: return the topic's type"),
        (Flight, None, "expected Flight, received NoneType: return the topic's type"),
        (Flight, Flight.model_construct(flight_id="a", delay=VALUE), "not a valid Flight: flight_id: String should"),
        (Flight, Flight.model_construct(flight_id="abc", delay=VALUE), "not a valid Flight: delay: Input should be"),
        (Plane, VALUE, "expected Plane, received str"),
        (Plane, Plane(cast("str", object())), "not a valid Plane: raised TypeError"),
        (Movement, {"origin": [VALUE]}, "not a valid Movement: origin: Input should be a valid string"),
        (int, VALUE, "expected int, received str"),
        (int | None, VALUE, "cannot be written as JSON"),
    ],
)
def test_encode_errors_name_types_and_fields_and_never_values(value_type: Any, value: Any, text: str) -> None:
    (error,) = codec(value_type).encode_many([value])
    assert isinstance(error, EncodeError)
    assert text in str(error)
    assert VALUE not in str(error)


def test_fields_are_the_types_own_names_in_order() -> None:
    assert list(codec(Flight).fields.items()) == [
        ("flight_id", str),
        ("delay", float | None),
        ("at", datetime | None),
    ]
    assert list(codec(Plane).fields) == ["tail_number", "seats"]
    assert list(codec(Weather).fields) == ["origin", "wind"]
    assert codec(dict[str, int]).fields == {}


def test_bytes_topics_take_bytes_alone() -> None:
    raw = codec_for(bytes)
    assert isinstance(raw, BytesCodec)
    first, tombstone = raw.decode_many([b"", None])
    assert first == b""
    assert isinstance(tombstone, DecodeError)
    encoded, refused = raw.encode_many([b"x", cast("bytes", "x")])
    assert encoded == b"x"
    assert isinstance(refused, EncodeError)


class Arbitrary:
    pass


class HoldsArbitrary(msgspec.Struct):
    inner: int | str | list[int] | list[str]


@pytest.mark.parametrize("value_type", [Arbitrary, HoldsArbitrary])
def test_a_type_that_json_cannot_fill_is_refused_when_declared(value_type: type[Any]) -> None:
    with pytest.raises(PlanError, match="Use a pydantic model"):
        codec_for(value_type)


def test_a_model_with_validators_is_read_by_pydantic_alone() -> None:
    moody = codec(Moody)
    assert isinstance(moody, PydanticCodec)
    assert isinstance(moody.decode_fields([b'{"number":3}'])[0], Moody)


@pytest.mark.parametrize("value", [Flight(flight_id="UA1545"), Plane("N14228"), 7, b"raw"])
def test_one_value_is_encoded_and_decoded_as_many_are(value: Any) -> None:
    codec: ValueCodec[Any] = codec_for(cast("type[Any]", type(value)))
    payload = codec.encode_one(value)
    assert [payload] == codec.encode_many([value])
    assert codec.decode_one(payload) == value
    with pytest.raises(EncodeError, match="expected"):
        codec.encode_one("another type")


def test_one_payload_at_fault_raises_what_many_would_give_and_nothing_of_the_payload() -> None:
    with pytest.raises(DecodeError, match="not a valid int") as raised:
        codec_for(int).decode_one(VALUE.encode())
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
