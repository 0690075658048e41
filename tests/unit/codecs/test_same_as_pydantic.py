"""Decoding without the user's objects accepts what pydantic accepts, with pydantic's values."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, create_model

from streamserve.codecs.json import PydanticCodec
from streamserve.errors import DecodeError
from tests.unit.codecs.documents import ANNOTATIONS, NASTY, documents, models, picture

PLACES = [
    *('{"a":%s}', '{"q":%s,"a":%s}', '{"a":%s,"x":1,"a":1}', '{"\\u0061":%s}', ' {"a" : %s }\n', "[%s]", "%s"),
    *('{"a":[%s]}', '{"a":{"a":%s}}', '{"a":[{"a":%s}]}', '{"x":%s}', '{"x":{"y":[%s]}}', "{%s:1}"),
]

EDGES = [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'{"\xff":1}', b"1" * 4300, b"1" * 4301, b"[" * 199 + b"]" * 199]


def by_pydantic(model: type[BaseModel], document: bytes) -> object:
    try:
        return picture(model.model_validate_json(document))
    except ValidationError:
        return "refused"


def by_codec(model: type[BaseModel], batch: list[bytes]) -> list[object]:
    decoded = PydanticCodec(model).decode_fields(batch)
    return ["refused" if isinstance(value, DecodeError) else picture(value) for value in decoded]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_drawn_models_read_drawn_batches_as_pydantic_does(data: st.DataObject) -> None:
    model = data.draw(models())
    batch = data.draw(st.lists(documents(model), min_size=1, max_size=12))
    assert by_codec(model, batch) == [by_pydantic(model, document) for document in batch]


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_every_kind_of_field_reads_every_nasty_literal_as_pydantic_does(kind: str) -> None:
    annotation: Any = ANNOTATIONS[kind]
    fields: dict[str, Any] = {"a": (Optional[annotation], ...), "q": (annotation, None)}  # noqa: UP045
    model = create_model("Model", **fields)
    batch = [place.replace("%s", literal).encode("utf-8", "surrogatepass") for place in PLACES for literal in NASTY]
    assert by_codec(model, batch) == [by_pydantic(model, document) for document in batch]


@pytest.mark.parametrize("edge", EDGES, ids=range(len(EDGES)))
def test_ignored_fields_are_held_to_what_pydantic_reads(edge: bytes) -> None:
    model = create_model("Model", a=(int, 1))
    batch = [b'{"ignored":' + edge + b"}", b'{"ignored":[' + edge + b"]}", b'{"a":2}', b'{"a":2,' + edge + b":1}"]
    assert by_codec(model, batch) == [by_pydantic(model, document) for document in batch]


def test_times_finer_than_a_microsecond_are_cut_as_pydantic_cuts_them() -> None:
    model = create_model("Model", a=(datetime, ...), b=(float, 0.0))
    fine, plain = b'{"a":"2013-01-01T05:00:00.9999999Z"}', b'{"a":"2013-01-01T05:00:00.999999Z","b":1.12345678}'
    decoded: list[Any] = PydanticCodec(model).decode_fields([fine, plain])
    first, second = decoded
    assert first.a == second.a
    assert (isinstance(first, model), isinstance(second, model)) == (True, False)
